"""Any side as several one-thread processes at the same time: how a machine's cores are used best by small networks."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from threading import BrokenBarrierError
from typing import Any

from experiments.benchmark.sides import named_side
from experiments.benchmark.task import BenchmarkTask, SideTiming
from experiments.errors import ExperimentError
from experiments.planning.run_config import RunConfig
from experiments.runs.training import prepare_process

PATIENCE = 300.0
"""Seconds that a process waits for the others before the measurement is given up."""

_together: Any = None
"""In a worker process: what all of them wait at, so that they train at the same time."""


def train_side(side: str, task: BenchmarkTask, processes: int) -> SideTiming:
    """Train a task by one side, in this process or as several processes side by side."""
    if processes == 1:
        return named_side(side, task.config.task)(task)
    return train_side_by_side(side, task, processes)


def train_side_by_side(side: str, task: BenchmarkTask, count: int) -> SideTiming:
    """Train the task ``count`` times at once, each time in a process of its own with one thread.

    The processes are kept for the next measurement, and start each training together. Seconds are those of the slowest;
    rows and tokens are counted over all, so that tokens per second are those of the machine.

    Raises:
        ExperimentError: if a process fails, or does not get to its start.
    """
    config = replace(task.config, threads=1)
    processes = worker_processes(count)
    futures = [processes.submit(train_together, side, config, task.dropout) for _ in range(count)]
    try:
        timings = [future.result() for future in futures]
    except Exception:
        forget(processes)
        raise first_cause(futures) from None
    return SideTiming(
        seconds=max(timing.seconds for timing in timings),
        rows=sum(timing.rows for timing in timings),
        tokens=sum(timing.tokens for timing in timings),
        positions=sum(timing.positions for timing in timings),
        steps=timings[0].steps,
        parameters=timings[0].parameters,
        copies=count,
    )


@cache
def worker_processes(count: int) -> ProcessPoolExecutor:
    """Return as many processes as asked for, which start at the first task and stay."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, context, initializer=prepare_worker, initargs=(context.Barrier(count),))


def forget(processes: ProcessPoolExecutor) -> None:
    """Give up processes of which one failed: what they wait at is broken."""
    processes.shutdown(cancel_futures=True)
    worker_processes.cache_clear()


def first_cause(futures: list[Future[SideTiming]]) -> BaseException:
    """Return what made one process fail, not what the others said when they waited for it in vain."""
    found = [error for future in futures if not future.cancelled() and (error := future.exception()) is not None]
    causes = [error for error in found if not isinstance(error, BrokenBarrierError)]
    return causes[0] if causes else ExperimentError(f"{len(futures)} processes of the benchmark did not start together")


def prepare_worker(together: Any) -> None:
    """Prepare a worker process: one thread, and the barrier that it shares with the others."""
    global _together
    _together = together
    prepare_process(1)


def train_together(side: str, config: RunConfig, dropout: str) -> SideTiming:
    """Train in this process as soon as all others are ready too."""
    task = BenchmarkTask(config, dropout, ready=wait_for_the_others)
    try:
        _ = task.step_count  # the text is read before the clocks run
        return named_side(side, config.task)(task)
    except Exception:
        _together.abort()  # the others need not wait
        raise


def wait_for_the_others() -> None:
    """Return when every process has come here."""
    _together.wait(PATIENCE)
