"""Runs per hour of several single-thread workers against one."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from experiments.errors import ExperimentError
from experiments.making.messages import Event, Failed, Finished
from experiments.making.pool import make_runs
from experiments.planning.run_config import RunConfig
from experiments.planning.runs import Run


@dataclass(frozen=True)
class Rates:
    """Runs per hour, measured one right after the other."""

    round: int
    workers: int
    alone: float
    """Of one worker."""
    together: float
    """Of all workers together."""

    @property
    def ratio(self) -> float:
        """How many times the runs of one worker the workers make."""
        return self.together / self.alone


def measure_workers(config: RunConfig, workers: int, rounds: int, runs_each: int) -> Iterator[Rates]:
    """Measure one worker and several in turn, the order changing from round to round.

    Args:
        config: configuration of every run; their seeds differ.
        workers: worker processes to compare with one.
        rounds: pairs of measurements.
        runs_each: runs that count per worker, beside the first one, which pays for imports.
    """
    for number in range(1, rounds + 1):
        order = (1, workers) if number % 2 else (workers, 1)
        rates = {count: runs_per_hour(config, count, runs_each) for count in order}
        yield Rates(number, workers, rates[1], rates[workers])


def runs_per_hour(config: RunConfig, workers: int, runs_each: int) -> float:
    """Return the runs per hour of a pool: the sum over its workers, each from its first finished run to its last.

    Raises:
        ExperimentError: where a run fails.
    """
    runs = runs_of(config, workers * (1 + runs_each))
    finished: dict[int, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as results:
        for event in make_runs(runs, Path(results), workers):
            note_finish(event, finished)
    return sum((len(times) - 1) / (times[-1] - times[0]) * 3600 for times in finished.values() if len(times) > 1)


def runs_of(config: RunConfig, count: int) -> list[Run]:
    """Return so many runs of a configuration, which differ in their seeds."""
    return [
        Run(
            grid="benchmark",
            corpus=config.data.slug,
            condition=config.model.variant,
            stage="tune",
            seed=seed,
            config=config.with_seed(seed),
        )
        for seed in range(count)
    ]


def note_finish(event: Event, finished: dict[int, list[float]]) -> None:
    """Note when a worker finished a run."""
    if isinstance(event.message, Failed):
        raise ExperimentError(f"a run of the benchmark failed: {event.message.reason}")
    if isinstance(event.message, Finished):
        finished[event.worker].append(time.perf_counter())
