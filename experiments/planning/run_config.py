"""The complete configuration of one run, as ``config.yaml`` holds it and ``experiments.train`` reads it."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, replace
from functools import cache
from pathlib import Path, PurePath
from typing import Any, Literal

from data_modules.config import EMBEDDED_CORPORA, DataConfig, slug_of
from experiments.errors import ExperimentError
from experiments.planning.names import nest, reject_unknown
from experiments.tasks import CAUSAL_LM, CLASSIFICATION, task_named
from lightning_modules.config import ModelConfig
from lightning_modules.errors import ConfigurationError, check_numbers
from lightning_modules.facts import steps_in_epoch
from lightning_modules.pretrained import pretrained_name, pretrained_network
from lightning_modules.schemes.variants import refuse_causal

SPELLINGS = {"32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed", "64": "64-true"}
"""Lightning's older names of precisions, and what Lightning means by them."""
PRECISIONS = ("32-true", "bf16-mixed", "bf16-true", "16-mixed", "64-true")
"""Lightning's names of the precisions that a run may have; others of Lightning need packages of their own."""

MOST = {"max_epochs": 10_000_000, "devices": 100_000, "rows": 1_000_000, "threads": 10_000, "seed": 2**32 - 1}
"""The largest values of fields: larger ones cost too much memory or time, or a library refuses them."""


def checked(prefix: str, config: Any, most: Mapping[str, int]) -> None:
    """Check the numbers of a section of experiments as those of the model are checked.

    Raises:
        ExperimentError: naming the field.
    """
    try:
        check_numbers(prefix, config, most)
    except ConfigurationError as error:
        raise ExperimentError(str(error)) from None


@dataclass(kw_only=True)
class TrainerConfig:
    """The flags of Lightning's ``Trainer`` that a grid may set, by Lightning's own names."""

    max_epochs: int = 4
    """Passes over the training rows, unless ``max_steps`` or ``max_tokens`` sets the budget."""

    max_steps: int | None = field(default=None, metadata={"since": 2})
    """Budget in optimiser steps, in place of ``max_epochs``; the schedule is as long."""

    max_tokens: int | None = field(default=None, metadata={"since": 2})
    """Budget in real training tokens, in place of ``max_epochs``: as many steps as have these tokens on average."""

    gradient_clip_val: float | None = 1.0
    """Largest total gradient norm; null switches clipping off."""

    precision: str = "32-true"
    """Lightning's precision, such as ``32-true`` or ``bf16-mixed``."""

    accelerator: str = "auto"
    """``auto`` takes a GPU if there is one."""

    devices: int = 1
    """Devices that share a run."""

    val_check_interval: float = 1.0
    """Share of an epoch between two validations."""

    validate_every_n_steps: int | None = field(default=None, metadata={"since": 2})
    """Steps between two validations, in place of ``val_check_interval``: for runs that see their rows many times."""

    log_every_n_steps: int = 10
    """Steps between two points of the training curves."""

    track_train_metrics: bool = False
    """Also score the fixed sample of training rows at every validation; no number of the training depends on it."""

    def __post_init__(self) -> None:
        checked("trainer.", self, MOST)
        self.precision = SPELLINGS.get(str(self.precision), self.precision)
        reject_unknown("trainer.precision", self.precision, PRECISIONS)
        if self.max_epochs < 1:
            raise ExperimentError(f"trainer.max_epochs is {self.max_epochs}; it must be at least 1")
        for name in ("max_steps", "max_tokens", "validate_every_n_steps"):
            value, usual = getattr(self, name), "max_epochs" if name.startswith("max") else "val_check_interval"
            if value is not None and value < 1:
                raise ExperimentError(f"trainer.{name} is {value}; it must be at least 1, or null for {usual}")
        if self.max_steps is not None and self.max_tokens is not None:
            raise ExperimentError(
                f"trainer.max_steps {self.max_steps} and trainer.max_tokens {self.max_tokens} are two budgets; give one"
            )
        if not 0 < self.val_check_interval <= 1:
            raise ExperimentError(f"trainer.val_check_interval is {self.val_check_interval}; it must lie in (0, 1]")
        if self.gradient_clip_val is not None and self.gradient_clip_val < 0:
            raise ExperimentError(
                f"trainer.gradient_clip_val is {self.gradient_clip_val}; it must be above 0; 0 and null "
                "switch clipping off"
            )
        for name in ("devices", "log_every_n_steps"):
            if getattr(self, name) < 1:
                raise ExperimentError(f"trainer.{name} is {getattr(self, name)}; it must be at least 1")


@dataclass(kw_only=True)
class ProbesConfig:
    """What is measured inside the network while it trains; it decides no number of the training."""

    every_n_steps: int = 0
    """Optimiser steps between two measurements, the first one before training; 0 measures nothing."""

    rows: int = 32
    """Training rows to measure on, always the same."""

    def __post_init__(self) -> None:
        checked("probes.", self, MOST)
        if self.every_n_steps < 0:
            raise ExperimentError(f"probes.every_n_steps is {self.every_n_steps}; it cannot be negative (0 is off)")
        if self.rows < 1:
            raise ExperimentError(f"probes.rows is {self.rows}; it must be at least 1")


@dataclass(kw_only=True)
class StartConfig:
    """Which earlier run a run starts from, and what of it is trained."""

    run: str | None = None
    """Folder of the run whose best weights are the start; its tokenizer is taken too. In a grid, ``grid`` finds it."""

    grid: str | None = None
    """Grid whose final runs are the starts, joined by condition and seed; with fewer seeds there, they take turns."""

    condition: str | None = None
    """Condition of that grid to start from; by default the one of the same name."""

    part: Literal["backbone", "all"] = "backbone"
    """What is taken: the backbone, or ``all`` with the head, to go on training for the same task on other text."""

    train: str = "all"
    """What is trained: ``all``, ``head`` alone, or ``top_2`` with the two blocks nearest to it (any number)."""

    rate_per_block: float = 1.0
    """Factor on the learning rate for each block further down; 1 trains all alike."""

    parent: str | None = None
    """Hash of the configuration of the run that is started from; filled in when it is looked up."""

    parents: int = 1
    """Seeds that the starts' grid has; filled in likewise."""

    def __post_init__(self) -> None:
        checked("start.", self, MOST)
        reject_unknown("start.part", self.part, ("backbone", "all"))
        if not re.fullmatch(r"all|head|top_[1-9]\d*", self.train):
            raise ExperimentError(f"start.train is {self.train!r}; choose all, head, or top_N such as top_2")
        if not 0 < self.rate_per_block <= 1:
            raise ExperimentError(f"start.rate_per_block is {self.rate_per_block}; it must be above 0 and at most 1")
        if self.parents < 1:
            raise ExperimentError(f"start.parents is {self.parents}; it must be at least 1")
        if self.run is not None and self.grid is not None and "{seed}" not in self.run and not self.parent:
            raise ExperimentError("start.run and start.grid name two starts; give one")

    @property
    def is_given(self) -> bool:
        """Whether there is a start."""
        return self.run is not None or self.grid is not None

    @property
    def top_blocks(self) -> int | None:
        """Blocks that are trained from the top; None for all of the network."""
        return None if self.train == "all" else 0 if self.train == "head" else int(self.train.removeprefix("top_"))

    def with_seed(self, seed: int) -> StartConfig:
        """Return the start of a run with this seed."""
        if self.run is None or "{seed}" not in self.run:
            return self
        return replace(self, run=self.run.replace("{seed}", str(seed % self.parents)))

    def identity(self) -> dict[str, Any]:
        """What of the start decides the numbers: the run's configuration, not its place."""
        names = ("part", "train", "rate_per_block", "parent")
        return {name: getattr(self, name) for name in names}


@dataclass(kw_only=True)
class RunConfig:
    """Everything that decides the numbers of a run, and what is measured while it trains."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    probes: ProbesConfig = field(default_factory=ProbesConfig)
    task: str = field(default=CLASSIFICATION.name, metadata={"since": 2})
    """What is trained for and measured: a task of :mod:`experiments.tasks`."""
    start: StartConfig = field(default_factory=StartConfig, metadata={"since": 2})
    """The run that this one starts from, if any."""
    seed: int = 0
    """Seed of initialisation, dropout and batch order."""
    threads: int = 1
    """CPU threads; bit-equal repeats are promised for equal threads, processor and versions."""
    trainer_flags: dict[str, Any] = field(default_factory=dict)
    """Other flags of Lightning's ``Trainer`` that ``experiments.train`` was given; a grid has none."""

    def __post_init__(self) -> None:
        task_named(self.task)
        checked("", self, MOST)
        if self.threads < 1:
            raise ExperimentError(f"threads is {self.threads}; it must be at least 1")
        if self.seed < 0:
            raise ExperimentError(f"seed is {self.seed}; it cannot be negative")
        if self.task == CAUSAL_LM.name:
            refuse_causal(self.model.scheme)
        if self.model.pretrained is not None:
            self._check_pretrained()
        if self.model.adversarial != "none" and self.task != CLASSIFICATION.name:
            raise ExperimentError(
                f"model.adversarial is {self.model.adversarial}, and only the task {CLASSIFICATION.name} trains so; "
                f"the task is {self.task}"
            )
        if self.model.compile and self.probes.every_n_steps:
            raise ExperimentError(
                "probes look inside the blocks, which model.compile translates as a whole; leave out one of them"
            )

    def _check_pretrained(self) -> None:
        if self.task != CLASSIFICATION.name and not (self.task == CAUSAL_LM.name and self.model.causal):
            raise ExperimentError(
                f"model.pretrained cannot be trained for {self.task}: a causal network can write on, any can classify"
            )
        if self.model.word_vectors is not None:
            raise ExperimentError("model.pretrained and model.word_vectors are two starts of the embeddings; give one")

    @property
    def text(self) -> DataConfig:
        """The text as this run reads it: with the tokenizer of the pretrained network, if it takes one.

        Raises:
            ConfigurationError: that network is not there, or has fewer positions than ``data.max_length``.
        """
        if self.model.pretrained is None:
            return self.data
        network = pretrained_network(self.model.pretrained)
        if self.data.max_length > network.positions:
            raise ExperimentError(
                f"the pretrained network has {network.positions} positions, and data.max_length is "
                f"{self.data.max_length}; lower it"
            )
        return replace(self.data, tokenizer=str(network.folder))

    def with_seed(self, seed: int) -> RunConfig:
        """Return this configuration with another seed of initialisation, dropout and batch order."""
        return replace(
            self,
            seed=seed,
            model=replace(self.model, seed=seed),
            data=replace(self.data, seed=seed),
            start=self.start.with_seed(seed),
        )

    def with_values(self, values: dict[str, Any]) -> RunConfig:
        """Return this configuration with some values changed, by dotted names such as ``model.layers``.

        Raises:
            ConfigurationError, DataError, ExperimentError: if the values together are out of range.
        """
        return replaced(self, nest(values))

    def as_dict(self) -> dict[str, Any]:
        """Return the sections that ``python -m experiments.train fit --config`` reads; tuples become lists."""
        sections = json.loads(json.dumps(asdict(self)))
        seed = sections.pop("seed")
        for name in newer_defaults(self):
            del sections[name]
        sections["trainer"] |= sections.pop("trainer_flags")
        trainer = sections["trainer"]
        del trainer["track_train_metrics"]  # decides no number, and is no flag of Lightning's
        for name in ("max_steps", "max_tokens", "validate_every_n_steps"):
            if trainer[name] is None:  # which Lightning does not take
                del trainer[name]
        for section in ("model", "data"):
            del sections[section]["seed"]
        return {"seed_everything": seed, **sections}

    def identity(self) -> dict[str, Any]:
        """Everything that decides the numbers except the seed; paths, probes and other corpora's options are left out.

        Records carry this. A corpus is named by its slug and known by its fingerprint, wherever it was read from.
        """
        identity = self.as_dict()
        del identity["seed_everything"], identity["probes"]
        identity["trainer"]["accelerator"] = "auto"  # where a run was made decides no setting
        data = identity["data"]
        data["corpus"] = self.data.slug
        data["more_text"] = [slug_of(PurePath(name).name) for name in self.data.more_text]
        if data["tokenizer"].startswith(("/", "./", "../", "~")):
            data["tokenizer"] = PurePath(data["tokenizer"]).name
        for name in ("cache_dir", "train_file", "validation_file", "test_file"):
            del data[name]
        if self.start.is_given or self.model.pretrained is not None:
            identity["start"] = self.start.identity()
            data["tokenizer"] = "of the start"
            del data["vocabulary_size"], data["lowercase"]
        if self.model.pretrained is not None:  # its digest says which one
            identity["model"]["pretrained"] = pretrained_name(self.model.pretrained)
        if self.model.word_vectors is not None:
            identity["model"]["word_vectors"] = named_content(Path(self.model.word_vectors).expanduser())
        for section in ("model", "data", "trainer"):
            for name in newer_defaults(getattr(self, section)):
                identity[section].pop(name, None)
        for corpus in EMBEDDED_CORPORA:
            if corpus != self.data.corpus:
                del data[corpus]
        return identity

    def hash(self) -> str:
        """Return a digest of :meth:`identity`, equal for all seeds of a condition."""
        canonical = json.dumps(self.identity(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def named_content(path: Path) -> str:
    """Return the name of a file and a digest of its content; the name alone while there is no such file."""
    if not path.is_file():
        return path.name
    state = path.stat()
    return f"{path.name} {content_digest(path, state.st_size, state.st_mtime_ns)}"


@cache
def content_digest(path: Path, size: int, changed: int) -> str:
    """Return 16 hexadecimal digits of a file's content; a file of the same size and time is read once."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def newer_defaults(config: Any) -> list[str]:
    """Fields that were added after records had been written, at their defaults: no hash knows them.

    Such a field says so: ``field(default=…, metadata={"since": 2})``, with the schema of the first records that may
    have it. Records from before it keep their hash, and count as made with the default, as they were.
    """
    newer = [entry for entry in fields(config) if "since" in entry.metadata]
    return [entry.name for entry in newer if getattr(config, entry.name) == default_of(entry)]


def default_of(entry: Field[Any]) -> Any:
    """Return the default of a field, given as a value or by a factory; ``MISSING`` if it has none."""
    return entry.default if entry.default_factory is MISSING else entry.default_factory()


def steps_of(config: RunConfig, facts: Any) -> int:
    """Optimiser steps of a run on the text that ``facts`` describe."""
    return planned_steps(vars(config.trainer) | config.trainer_flags, facts)


def planned_steps(trainer: Mapping[str, Any], facts: Any) -> int:
    """Optimiser steps that a run's budget of steps, tokens or epochs allows.

    Batches differ in tokens, so a budget of tokens takes as many steps as have them on average, rounded up.

    Args:
        trainer: settings by name, as in a configuration or in the ``config`` of a record.
        facts: of the text: ``steps_per_epoch`` (batches) and ``train_tokens`` (real ones, of an epoch).
    """
    if trainer.get("max_steps") is not None:
        return int(trainer["max_steps"])
    accumulated = trainer.get("accumulate_grad_batches")
    if trainer.get("max_tokens") is not None:
        steps = steps_in_epoch(facts.steps_per_epoch, accumulated=accumulated)
        return math.ceil(trainer["max_tokens"] * steps / facts.train_tokens)
    steps = steps_in_epoch(facts.steps_per_epoch, trainer.get("limit_train_batches"), accumulated)
    return int(trainer["max_epochs"]) * steps


def replaced(config: Any, values: Mapping[str, Any]) -> Any:
    """Return a configuration with nested values changed; those of a section are checked together."""
    if isinstance(config, Mapping):
        return {**config, **values}
    changes = {
        name: replaced(getattr(config, name), value) if isinstance(value, Mapping) else value
        for name, value in values.items()
    }
    return replace(config, **changes)
