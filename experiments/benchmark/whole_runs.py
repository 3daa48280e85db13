"""Whole runs as a grid's worker processes make them, from one finished run to the next."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from pathlib import Path

from experiments.errors import ExperimentError
from experiments.making.messages import Event, Failed, Finished
from experiments.making.pool import make_runs
from experiments.planning.run_config import RunConfig
from experiments.planning.runs import Run


def runs_per_hour(config: RunConfig, workers: int, runs_each: int) -> float:
    """Return the runs per hour of a pool: the sum over its workers, each from its first finished run to its last.

    Args:
        config: configuration of every run; their seeds differ.
        workers: worker processes.
        runs_each: runs that count per worker, after the first one, which pays for imports.

    Raises:
        ExperimentError: if a run fails.
    """
    finished = finish_times(config, workers * (1 + runs_each), workers).values()
    return sum((len(times) - 1) / (times[-1] - times[0]) * 3600 for times in finished if len(times) > 1)


def finish_times(config: RunConfig, count: int, workers: int) -> dict[int, list[float]]:
    """Make ``count`` runs, which differ in their seeds; return by worker the seconds at which its runs ended.

    Raises:
        ExperimentError: if a run fails.
    """
    runs = [
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
    finished: dict[int, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as results:
        for event in make_runs(runs, Path(results), workers):
            note_finish(event, finished)
    return finished


def note_finish(event: Event, finished: dict[int, list[float]]) -> None:
    """Note when a worker finished a run.

    Raises:
        ExperimentError: if the run failed.
    """
    if isinstance(event.message, Failed):
        raise ExperimentError(f"a run of the benchmark failed: {event.message.reason}")
    if isinstance(event.message, Finished):
        finished[event.worker].append(time.perf_counter())


def seconds_of_runs(config: RunConfig, count: int) -> float:
    """Return the seconds that one worker takes for ``count`` runs after a first one, which pays for imports.

    Raises:
        ExperimentError: if a run fails.
    """
    (times,) = finish_times(config, 1 + count, 1).values()
    return times[-1] - times[0]
