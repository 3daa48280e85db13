"""What a grid would do, before it does it: every run with its size, and the time and disk that it takes."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from data_modules.labelled_text import TextDataModule
from experiments.making.display import duration
from experiments.planning.expansion import final_runs, tune_runs
from experiments.planning.grid import Grid
from experiments.planning.run_config import steps_of
from experiments.planning.runs import Run
from experiments.runs.finished import FinishedRuns
from experiments.runs.timings import TIMING_FILE
from lightning_modules.config import ModelConfig
from lightning_modules.network.counting import Counts, count_configuration

FLOPS_PER_SECOND = 3e10
"""Arithmetic per second of one worker while no run on this machine has told better: small models on one CPU core."""
START_SECONDS = 4.0
"""What a run costs beside arithmetic: start, evaluation, files."""
BASELINE_SECONDS = 15.0
NOT_ARCHITECTURE: dict[str, Any] = {
    "seed": 0,
    "learning_rate": 1e-3,
    "warmup_fraction": 0.0,
    "initialisation_gain": 1.0,
}
"""Settings that differ between the runs of a grid and leave a network's size as it is."""
LOG_BYTES = 400_000
"""Curves, predictions and record of a run."""
NEWEST = 200
"""Most runs whose times are read."""
LEAST_SECONDS = 3.0
"""Shorter trainings measure the start of a run, not its speed."""
LIKE = 4.0
"""Largest ratio of arithmetic per token between runs whose speeds are taken for alike."""


@dataclass(frozen=True)
class Speed:
    """How fast a run was that has been made here."""

    flops_per_token: float
    flops_per_second: float


@dataclass(frozen=True)
class Estimate:
    """Size and cost of one run."""

    counts: Counts
    seconds: float
    bytes: int
    measured: bool
    """Whether runs of like size have told how fast this machine is."""


def print_plan(grid: Grid, results: Path, workers: int, console: Console) -> None:
    """Print every run of the grid, then what all of them take together."""
    made = FinishedRuns(grid, results).records()
    runs = [*tune_runs(grid, made), *final_runs(grid, made)]
    speeds = measured_speeds(results)
    table = Table("run", "stage", "parameters", "norms", "skips", "time", "disk", box=None)
    facts: dict[str, TextDataModule] = {}
    seconds, disk, measured = 0.0, 0, 0
    with console.status(f"preparing the corpus {grid.corpus}"):
        for run in runs:
            estimate = estimated(run, speeds, facts)
            seconds, disk = seconds + estimate.seconds, disk + estimate.bytes
            measured += estimate.measured
            counts = estimate.counts
            sizes = (
                (f"{counts.parameters:,}", f"{counts.norms}", f"{counts.skips}") if not run.baseline else ("", "", "")
            )
            name = run.name + (" (values chosen by tuning)" if run.pending else "")
            table.add_row(name, run.stage, *sizes, duration(estimate.seconds), f"{estimate.bytes / 2**20:.1f} MiB")
    console.print(table, soft_wrap=True)
    together = (
        f"{len(runs)} runs: {duration(seconds)} of one core, about {duration(seconds / workers)} with {workers} workers"
    )
    source = f"by earlier runs of like size for {measured} of them" if measured else "speed not measured here yet"
    console.print(f"{together}, {disk / 2**20:.0f} MiB of disk ({source})", highlight=False)


def estimated(run: Run, speeds: Sequence[Speed], facts: dict[str, TextDataModule]) -> Estimate:
    """Return a run's size, counted from the built model, and its cost, from its real tokens."""
    data = text_of(run, facts)
    counts = counted(
        replace(run.config.model, **NOT_ARCHITECTURE),
        vocabulary_size=data.facts.vocabulary_size,
        outputs=len(data.facts.class_names),
        max_length=data.facts.max_length,
    )
    if run.baseline:
        return Estimate(counts, BASELINE_SECONDS, LOG_BYTES, measured=False)
    tokens = data.facts.train_tokens * steps_of(run.config, data.facts) / data.facts.steps_per_epoch
    speed = speed_for(counts.flops_per_token, speeds)
    seconds = START_SECONDS + counts.flops_per_token * tokens / (speed or FLOPS_PER_SECOND)
    return Estimate(counts, seconds, LOG_BYTES + 4 * counts.parameters, measured=speed is not None)


@cache
def _counted(config: tuple[tuple[str, Any], ...], sizes: tuple[tuple[str, int], ...]) -> Counts:
    return count_configuration(ModelConfig(**dict(config)), **dict(sizes))


def counted(config: ModelConfig, **sizes: int) -> Counts:
    """Count the network of a configuration, once for all runs that share it: a deep one takes a second."""
    values = tuple((entry.name, getattr(config, entry.name)) for entry in fields(config))
    return _counted(values, tuple(sizes.items()))


def text_of(run: Run, facts: dict[str, TextDataModule]) -> TextDataModule:
    """Return the data module of a run; equal settings share one."""
    config = run.config.data
    key = repr([getattr(config, name) for name in config.__dataclass_fields__ if name not in ("seed", "stage")])
    if key not in facts:
        facts[key] = TextDataModule.from_config(config)
    return facts[key]


def measured_speeds(results: Path) -> list[Speed]:
    """Return the speeds of the runs made here that trained long enough to tell."""
    paths = sorted(results.glob(f"runs/*/*/*/*/*/{TIMING_FILE}"), key=lambda path: path.stat().st_mtime)
    return [speed for path in paths[-NEWEST:] for speed in speed_of(path)]


def speed_for(flops_per_token: float, speeds: Sequence[Speed]) -> float | None:
    """Return the median arithmetic per second of the runs of like size; None without such runs."""
    like = [
        speed.flops_per_second
        for speed in speeds
        if flops_per_token / LIKE <= speed.flops_per_token <= flops_per_token * LIKE
    ]
    return median(like) if like else None


def speed_of(path: Path) -> Iterable[Speed]:
    """Yield a run's speed, from its record's size and its timing, unless it trained for a moment only."""
    from experiments.errors import RecordError
    from experiments.runs.folder import read_record

    try:
        record = read_record(path.parent)
        with path.open(encoding="utf-8") as file:
            seconds = float(next(csv.DictReader(file))["training_seconds"])
    except (RecordError, OSError, KeyError, ValueError, StopIteration):
        return
    size = record.model.get("flops_per_token")
    if seconds >= LEAST_SECONDS and size:
        yield Speed(size, size * record.progress["tokens_seen"] / seconds)
