"""How things are timed: in rounds, the machine by its matrix product, a pool by the runs that it finishes.

In a round everything is measured once, in a changing order, so that a slow spell affects everything alike.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch

from experiments.benchmark.table import MATRIX_SIZE
from experiments.errors import ExperimentError
from experiments.making.messages import Event, Failed, Finished
from experiments.making.pool import make_runs
from experiments.planning.run_config import RunConfig
from experiments.planning.runs import Run

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""Formats in which the machine's rate is measured."""

Name = TypeVar("Name")
Measured = TypeVar("Measured")


@dataclass(frozen=True)
class Round(Generic[Name, Measured]):
    """One measurement of everything, one right after the other, and of the machine."""

    number: int
    measured: Mapping[Name, Measured]
    """By name, in the order in which they were measured."""
    machine_rates: Mapping[str, float]
    """Operations per second of the machine's matrix product, by number format."""


def order_of(names: Sequence[Name], number: int) -> list[Name]:
    """Return the order of a round, counted from 1: each starts elsewhere, and every other one runs backwards.

    Within ``2·len(names)`` rounds everything has every position twice.
    """
    start = (number - 1) // 2 % len(names)
    turned = [*names[start:], *names[:start]]
    return turned if number % 2 else turned[::-1]


def measured_rounds(
    names: Sequence[Name],
    measure: Callable[[Name], Measured],
    rounds: int,
    *,
    measure_machine: Callable[[], Mapping[str, float]] = dict,
    warm_up: Sequence[Name] | None = None,
) -> Iterator[Round[Name, Measured]]:
    """Measure some things once as a warm-up, which does not count, and then everything round by round.

    Args:
        names: what is measured.
        measure: makes one measurement.
        rounds: rounds to yield.
        measure_machine: measures the machine's rates, once per round; by default none are.
        warm_up: what is measured beforehand; by default everything.
    """
    for name in names if warm_up is None else warm_up:
        measure(name)
    for number in range(1, rounds + 1):
        rates = measure_machine()
        measured = {}
        for name in order_of(names, number):
            gc.collect()  # or one would pay for another's garbage
            measured[name] = measure(name)
        yield Round(number, measured, rates)


def matrix_product_rates(seconds: float = 0.25) -> dict[str, float]:
    """Return the rate of every number format, by its name."""
    return {name: matrix_product_rate(dtype, seconds=seconds) for name, dtype in DTYPES.items()}


def matrix_product_rate(dtype: torch.dtype, *, size: int = MATRIX_SIZE, seconds: float = 0.25) -> float:
    """Return the floating-point operations per second of ``(size, size) × (size, size)``: ``2·size³ / time``.

    The products run on as many threads as the process has; the first one, which prepares the kernel, is not timed.

    Args:
        dtype: number format of both matrices and of the product.
        size: side of the matrices.
        seconds: least time to measure for.
    """
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(size, size, generator=generator).to(dtype) for _ in range(2))
    product = left @ right
    products = 0
    started = time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds or not products:
        torch.mm(left, right, out=product)
        products += 1
    return products * 2 * size**3 / elapsed


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
