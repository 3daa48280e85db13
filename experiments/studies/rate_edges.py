"""The stability map: a question file, the search for the largest learning rate survived, and what its runs left.

A *cell* is a scheme at a depth. Its next trial is a function of its earlier ones alone, so a stopped search goes on
where it was. Each trial is a file, ``results/runs/zoo_stability/<scheme>/layers=6/rate=0.004,seed=0.json``, written
when the trial ends. ``results/zoo_stability/measurements.jsonl.gz`` holds the same and is committed. Free
of torch.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from experiments.errors import ExperimentError, RecordError
from experiments.paths import below
from experiments.planning.run_config import RunConfig
from experiments.planning.yaml_files import read_yaml
from experiments.runs.canonical import canonical_json, decode, parse_json
from experiments.runs.run_folder import write_atomically
from experiments.tasks import CAUSAL_LM
from lightning_modules.errors import reject_unknown
from lightning_modules.schemes.families import FAMILIES
from lightning_modules.schemes.variants import TIME, VARIANTS

NAME = "zoo_stability"
QUESTION = Path(__file__).parent / f"{NAME}.yaml"
MEASUREMENTS_FILE = "measurements.jsonl.gz"
LARGEST_TRIAL = 100_000
"""Bytes of the largest file of a trial that is read."""
STEPS_OUT = (1, 2, 4)
"""Factors of two between the first trials; the last one is taken again and again."""

Ending = Literal["survived", "not finite", "above its start", "no context"]


@dataclass(frozen=True, kw_only=True)
class RateSetup:
    """Everything that decides the numbers of the map. Nothing has a default: it is in the question file."""

    layers: list[int]
    """Numbers of blocks."""
    steps: int
    """Optimiser steps of a run."""
    unit: float
    """The rate whose multiples by powers of two are tried."""
    lowest: int
    """Smallest power of two."""
    highest: int
    """Largest power of two."""
    begin: int
    """Power at which Pre-LN begins."""
    seeds: list[int]
    """The first one searches; all must survive at the edge."""
    margin: float
    """Nats by which a survivor's last losses are below the unigram model's on the same batches."""
    last: int
    """Steps whose mean loss is compared."""
    settings: dict[str, Any]
    """Settings of every run, by dotted names."""

    def __post_init__(self) -> None:
        if not self.lowest <= self.begin <= self.highest:
            raise ExperimentError(f"setup.begin is {self.begin}; it must lie from {self.lowest} to {self.highest}")
        if not 1 <= self.last <= self.steps:
            raise ExperimentError(f"setup.last is {self.last}; it must be at least 1 and at most setup.steps")
        for name in ("layers", "seeds"):
            if not getattr(self, name) or min(getattr(self, name)) < (name == "layers"):
                raise ExperimentError(f"setup.{name} is {getattr(self, name)}; it needs whole numbers, such as 6")
        if not (self.unit > 0 and self.margin >= 0):
            raise ExperimentError("setup.unit must be above 0, and setup.margin must not be negative")

    def rate(self, power: int) -> float:
        """Return the learning rate ``unit · 2^power``."""
        return float(self.unit * 2.0**power)

    def config(self, scheme: str, layers: int, power: int, seed: int) -> RunConfig:
        """Return the complete configuration of a trial."""
        chosen = {"model.variant": scheme, "model.layers": layers, "model.learning_rate": self.rate(power)}
        base = RunConfig(task=CAUSAL_LM.name).with_values({**CAUSAL_LM.defaults, **self.settings})
        return base.with_values({**chosen, "trainer.max_steps": self.steps}).with_seed(seed)

    def hash(self) -> str:
        """Digest what decides the numbers of a trial: not the depths, seeds and range that are asked for."""
        content = {
            "unit": self.unit,
            "steps": self.steps,
            "margin": self.margin,
            "last": self.last,
            "settings": self.settings,
        }
        return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class RateQuestion:
    """The question file."""

    title: str
    purpose: str
    survived: str
    """When a run survives, in words."""
    search: str
    """Which rates are tried, in words."""
    known_before: str
    """What was seen before the file was written."""
    amended: str
    """What was changed after first runs, and why."""
    first: list[str]
    """Schemes that are measured first, at ``first_layers``."""
    first_layers: list[int]
    setup: RateSetup

    def __post_init__(self) -> None:
        for scheme in self.first:
            reject_unknown("first: scheme", scheme, VARIANTS)

    @staticmethod
    def read(path: Path = QUESTION) -> RateQuestion:
        """Read a question file.

        Raises:
            ExperimentError: naming the file and the field.
        """
        try:
            question: RateQuestion = decode(RateQuestion, read_yaml(path))
        except ValueError as error:
            raise ExperimentError(f"{path.name}: {error}") from None
        return question

    def cells(self) -> list[tuple[str, int]]:
        """Return every scheme at every depth: the first ones first, then depth by depth, each led by Pre-LN."""
        schemes = [BASE, *(name for name in trainable_schemes() if name != BASE)]
        head = [(scheme, layers) for layers in self.first_layers for scheme in self.first]
        return list(dict.fromkeys([*head, *((scheme, n) for n in self.setup.layers for scheme in schemes)]))


BASE = "pre_ln"
"""Whose edge is where all others begin."""


def trainable_schemes() -> list[str]:
    """Return the schemes of the lab that have blocks and may predict the next token."""
    return [
        name
        for name, variant in VARIANTS.items()
        if name in FAMILIES and variant.layers is None and TIME not in variant.mixes
    ]


@dataclass(frozen=True, kw_only=True)
class RateTrial:
    """One run of the map."""

    scheme: str
    layers: int
    power: int
    """The learning rate is ``unit`` times two to this power."""
    rate: float
    seed: int
    ending: Ending
    step: int
    """Optimiser step at which it ended."""
    first_loss: float
    """Before the first step."""
    last_loss: float | None
    """Mean of the last steps; None where a loss was not finite."""
    unigram_loss: float
    """Mean loss of the unigram model on the batches of the last steps."""
    losses: list[float]
    """Every tenth loss, at five digits, up to the last finite one."""
    setup_hash: str
    environment: dict[str, Any] = field(default_factory=dict)
    """Version of ``torch`` and number of ``threads``."""

    def to_json(self) -> str:
        """Write one line of JSON; equal trials give equal text."""
        return canonical_json(asdict(self))

    @staticmethod
    def from_json(text: str, origin: str) -> RateTrial:
        """Read what :meth:`to_json` wrote.

        Raises:
            RecordError: naming ``origin``, for text that is no trial.
        """
        try:
            trial: RateTrial = decode(RateTrial, parse_json(text))
        except RecordError as error:
            raise RecordError(f"{origin} is not a valid trial: {error}") from None
        return trial

    @property
    def survived(self) -> bool:
        """Whether it survived."""
        return self.ending == "survived"


@dataclass(frozen=True)
class Edge:
    """How far the search of a cell has come."""

    next: tuple[int, int] | None
    """Power and seed of the trial that is to be made; None once the edge is known."""
    power: int | None = None
    """The largest power that all seeds survived, with ``next`` None; None where none survived."""
    failures: tuple[RateTrial, ...] = ()
    """Trials that failed just above it, or at the lowest power."""


def search_edge(setup: RateSetup, trials: Sequence[RateTrial], begin: int) -> Edge:
    """Follow the search of one cell as far as its trials go.

    Args:
        setup: range and seeds.
        trials: those of the cell.
        begin: power of the first trial.
    """
    known = {(trial.power, trial.seed): trial for trial in trials}
    first, *others = setup.seeds
    power, low, high, outward = begin, setup.lowest - 1, setup.highest + 1, 0
    while high - low > 1:
        trial = known.get((power, first))
        if trial is None:
            return Edge((power, first))
        low, high = (power, high) if trial.survived else (low, power)
        if setup.lowest <= low and high <= setup.highest:
            power = (low + high) // 2
        else:
            stride = STEPS_OUT[min(outward, len(STEPS_OUT) - 1)]
            outward += 1
            power = min(low + stride, setup.highest) if trial.survived else max(high - stride, setup.lowest)
    none_so_far = low < setup.lowest  # a window may lie between two rates that failed: one too large, one too slow
    for power in range(begin if none_so_far else low, setup.lowest - 1, -1):
        for seed in (first, *others):
            trial = known.get((power, seed))
            if trial is None:
                return Edge((power, seed))
            if not trial.survived:
                break
        else:
            return Edge(None, power, failures_at(trials, power + 1))
    return Edge(None, None, failures_at(trials, setup.lowest))


def failures_at(trials: Sequence[RateTrial], power: int) -> tuple[RateTrial, ...]:
    """Return the trials at a power that failed, by seed."""
    return tuple(sorted((t for t in trials if t.power == power and not t.survived), key=lambda trial: trial.seed))


def edges_of(question: RateQuestion, trials: Sequence[RateTrial]) -> dict[tuple[str, int], Edge]:
    """Return the edge of every cell that has one by now."""
    by_cell: dict[tuple[str, int], list[RateTrial]] = {}
    for trial in trials:
        by_cell.setdefault((trial.scheme, trial.layers), []).append(trial)
    found = {
        cell: search_edge(question.setup, made, begin_of(question, cell, by_cell)) for cell, made in by_cell.items()
    }
    return {cell: found[cell] for cell in question.cells() if cell in found and found[cell].next is None}


def begin_of(
    question: RateQuestion, cell: tuple[str, int], trials: Mapping[tuple[str, int], Sequence[RateTrial]]
) -> int:
    """Return the power at which a cell begins: the edge of Pre-LN at its depth, where that is known."""
    scheme, layers = cell
    setup = question.setup
    if scheme == BASE:
        return setup.begin
    power = search_edge(setup, trials.get((BASE, layers), ()), setup.begin).power
    return setup.begin if power is None else power


# Where trials are kept.


def local_folder(results: Path, scheme: str, layers: int) -> Path:
    """Return the folder of a cell's trials."""
    return below(results, "runs", NAME, scheme, f"layers={layers}")


def write_trial(results: Path, trial: RateTrial) -> None:
    """Write a trial's file, whole or not at all."""
    name = f"rate={trial.rate:.6g},seed={trial.seed}.json"
    write_atomically(local_folder(results, trial.scheme, trial.layers) / name, f"{trial.to_json()}\n".encode())


def read_local(results: Path, setup: RateSetup, scheme: str, layers: int) -> list[RateTrial]:
    """Read the trials of a cell that were made here with this setup; damaged files count as missing."""
    found = []
    for path in sorted(local_folder(results, scheme, layers).glob("rate=*.json")):
        try:
            if path.is_symlink() or path.stat().st_size > LARGEST_TRIAL:
                continue
            trial = RateTrial.from_json(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError, RecordError):
            continue
        if (trial.scheme, trial.layers, trial.setup_hash) == (scheme, layers, setup.hash()):
            found.append(trial)
    return found


def gather_trials(results: Path, question: RateQuestion) -> list[RateTrial]:
    """Return all trials of the question's setup, cell by cell; a local one is taken before a committed one."""
    setup = question.setup
    found = {(t.scheme, t.layers, t.power, t.seed): t for t in read_committed_trials(results, setup)}
    for scheme, layers in question.cells():
        found |= {(t.scheme, t.layers, t.power, t.seed): t for t in read_local(results, setup, scheme, layers)}
    order = {cell: place for place, cell in enumerate(question.cells())}
    known = [trial for trial in found.values() if (trial.scheme, trial.layers) in order]
    return sorted(known, key=lambda t: (order[t.scheme, t.layers], t.power, t.seed))


def read_committed_trials(results: Path, setup: RateSetup) -> Iterator[RateTrial]:
    """Yield the committed trials of a setup.

    Raises:
        RecordError: the file is damaged.
    """
    path = below(results, NAME) / MEASUREMENTS_FILE
    if not path.exists():
        return
    try:
        lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise RecordError(f"{path} is damaged ({error}); restore it from version control") from None
    for number, line in enumerate(lines, start=1):
        trial = RateTrial.from_json(line, f"{path}, line {number},")
        if trial.setup_hash == setup.hash():
            yield trial


def packed(trials: Sequence[RateTrial]) -> bytes:
    """Return the committed file of some trials; equal trials give equal bytes."""
    return gzip.compress("".join(f"{trial.to_json()}\n" for trial in trials).encode(), compresslevel=9, mtime=0)
