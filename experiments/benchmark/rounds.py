"""Rounds in which everything is measured once, in a changing order, so that a slow spell strikes all alike."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

from experiments.benchmark.table import MATRIX_SIZE

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
    """Measure some things once beforehand, which is forgotten, and then everything round by round.

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
