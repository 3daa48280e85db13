"""Our runs as a grid makes them: one single-thread process per core, all training at once."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from threading import BrokenBarrierError
from typing import Any

from experiments.benchmarking.own_sides import train_with_lightning
from experiments.benchmarking.task import Task, Timing
from experiments.errors import ExperimentError
from experiments.planning.run_config import RunConfig

PATIENCE = 300.0
"""Seconds that a process waits for the others before the measurement is given up."""

_together: Any = None
"""In a worker process: what all of them wait at, so that they train at the same time."""


def train_with_workers(task: Task) -> Timing:
    """Train the task once per thread of the configuration, each time in a process of its own with one thread.

    The processes are kept for the next measurement. Seconds are those of the slowest; rows and tokens are counted over
    all, so that tokens per second are those of the machine.

    Raises:
        ExperimentError: where a process does not get to its start.
    """
    count = task.config.threads
    config = replace(task.config, threads=1)
    try:
        timings = list(processes(count).map(train_together, [config] * count))
    except BrokenBarrierError:
        raise ExperimentError(f"{count} processes of the benchmark did not start together") from None
    return Timing(
        seconds=max(timing.seconds for timing in timings),
        rows=sum(timing.rows for timing in timings),
        tokens=sum(timing.tokens for timing in timings),
        positions=sum(timing.positions for timing in timings),
        steps=timings[0].steps,
        parameters=timings[0].parameters,
        copies=count,
    )


@cache
def processes(count: int) -> ProcessPoolExecutor:
    """Return as many processes as asked for, which start at the first task and stay."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, context, initializer=join, initargs=(context.Barrier(count),))


def join(together: Any) -> None:
    """Prepare a worker process: one thread, and the barrier that it shares with the others."""
    from experiments.runs.training import prepare_process

    global _together
    _together = together
    prepare_process(1)


def train_together(config: RunConfig) -> Timing:
    """Train in this process when all others are ready too."""
    task = Task(config)
    _ = task.data  # read before the clocks run
    _together.wait(PATIENCE)
    return train_with_lightning(task)
