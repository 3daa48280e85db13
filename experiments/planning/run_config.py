"""The complete configuration of one run, as it stands in ``config.yaml`` and as ``experiments.train`` reads it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import PurePath
from typing import Any

from data_modules.config import EMBEDDED_CORPORA, DataConfig
from experiments.errors import ExperimentError
from experiments.planning.names import nest, reject_unknown
from lightning_modules.config import ModelConfig

PRECISIONS = ("32-true", "bf16-mixed", "bf16-true", "16-mixed", "16-true", "64-true")
"""Lightning's names of the precisions that a run may have; others of Lightning need packages of their own."""


@dataclass(kw_only=True)
class TrainerConfig:
    """The flags of Lightning's ``Trainer`` that a grid may set, by Lightning's own names."""

    max_epochs: int = 4
    """Passes over the training rows."""

    gradient_clip_val: float | None = 1.0
    """Largest total gradient norm; null switches clipping off."""

    precision: str = "32-true"
    """Lightning's precision, such as ``32-true`` or ``bf16-mixed``."""

    accelerator: str = "auto"
    """``auto`` takes a GPU where there is one."""

    devices: int = 1
    """Devices that share a run."""

    val_check_interval: float = 1.0
    """Share of an epoch between two validations."""

    log_every_n_steps: int = 10
    """Steps between two points of the training curves."""

    track_train_metrics: bool = False
    """Also score the fixed sample of training rows at every validation; no number of the training depends on it."""

    def __post_init__(self) -> None:
        reject_unknown("trainer.precision", self.precision, PRECISIONS)
        if self.max_epochs < 1:
            raise ExperimentError(f"trainer.max_epochs is {self.max_epochs}; it must be at least 1")
        if not 0 < self.val_check_interval <= 1:
            raise ExperimentError(f"trainer.val_check_interval is {self.val_check_interval}; it must lie in (0, 1]")


@dataclass(kw_only=True)
class ProbesConfig:
    """What is measured inside the network while it trains; it decides no number of the training."""

    every_n_steps: int = 0
    """Optimiser steps between two measurements, the first one before training; 0 measures nothing."""

    rows: int = 32
    """Training rows to measure on, always the same."""

    def __post_init__(self) -> None:
        if self.every_n_steps < 0:
            raise ExperimentError(f"probes.every_n_steps is {self.every_n_steps}; it cannot be negative (0 is off)")
        if self.rows < 1:
            raise ExperimentError(f"probes.rows is {self.rows}; it must be at least 1")


@dataclass(kw_only=True)
class RunConfig:
    """Everything that decides the numbers of a run, and what is measured meanwhile."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    probes: ProbesConfig = field(default_factory=ProbesConfig)
    seed: int = 0
    """Seed of initialisation, dropout and batch order."""
    threads: int = 1
    """CPU threads; bit-equal repeats are promised for equal threads, processor and versions."""
    trainer_flags: dict[str, Any] = field(default_factory=dict)
    """Other flags of Lightning's ``Trainer`` that ``experiments.train`` was given; a grid has none."""

    def __post_init__(self) -> None:
        if self.model.compile and self.probes.every_n_steps:
            raise ExperimentError(
                "probes look inside the blocks, which model.compile translates as a whole; leave out one of them"
            )

    def with_seed(self, seed: int) -> RunConfig:
        """Return this configuration with another seed of initialisation, dropout and batch order."""
        return replace(self, seed=seed, model=replace(self.model, seed=seed), data=replace(self.data, seed=seed))

    def with_values(self, values: dict[str, Any]) -> RunConfig:
        """Return this configuration with some values changed, by dotted names such as ``model.layers``.

        Raises:
            ConfigurationError, DataError, ExperimentError: where the values together are out of range.
        """
        return replaced(self, nest(values))

    def as_dict(self) -> dict[str, Any]:
        """Return the sections that ``python -m experiments.train fit --config`` reads; tuples become lists."""
        sections = json.loads(json.dumps(asdict(self)))
        seed = sections.pop("seed")
        sections["trainer"] |= sections.pop("trainer_flags")
        del sections["trainer"]["track_train_metrics"]  # decides no number, and is no flag of Lightning's
        for section in ("model", "data"):
            del sections[section]["seed"]
        return {"seed_everything": seed, **sections}

    def identity(self) -> dict[str, Any]:
        """Return everything that decides the numbers but the seed: no path, no probes, no other corpus's options.

        Records carry this; a corpus is named by its slug and known by its fingerprint, wherever it was read from.
        """
        identity = self.as_dict()
        del identity["seed_everything"], identity["probes"]
        identity["trainer"]["accelerator"] = "auto"  # where a run was made decides no setting
        data = identity["data"]
        data["corpus"] = self.data.slug
        if data["tokenizer"].startswith(("/", "./", "../", "~")):
            data["tokenizer"] = PurePath(data["tokenizer"]).name
        for name in ("cache_dir", "train_file", "validation_file", "test_file"):
            del data[name]
        for new in fields(DataConfig):  # so that runs from before a field keep their hash
            if "since" in new.metadata and data[new.name] == new.default:
                del data[new.name]
        if data["augmentation"] == "none":
            del data["augmentation"]  # so that runs from before the option keep their hash
        for name in ("compile", "embedding_std"):
            if not identity["model"][name]:
                del identity["model"][name]  # for the same reason
        for corpus in EMBEDDED_CORPORA:
            if corpus != self.data.corpus:
                del data[corpus]
        return identity

    def hash(self) -> str:
        """Return a digest of :meth:`identity`, equal for all seeds of a condition."""
        canonical = json.dumps(self.identity(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def replaced(config: Any, values: Mapping[str, Any]) -> Any:
    """Return a configuration with nested values changed; those of a section are checked together."""
    changes = {
        name: replaced(getattr(config, name), value) if isinstance(value, Mapping) else value
        for name, value in values.items()
    }
    return replace(config, **changes)
