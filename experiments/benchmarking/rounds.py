"""Rounds in which every side is measured once, in a changing order. Free of torch."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


class Speed(Protocol):
    """What a round needs of a timing."""

    @property
    def seconds(self) -> float:
        """Seconds of training."""

    @property
    def rows(self) -> int:
        """Rows trained on."""

    @property
    def tokens(self) -> int:
        """Real tokens trained on."""

    @property
    def positions(self) -> int:
        """Real tokens and padding."""

    @property
    def steps(self) -> int:
        """Optimiser steps."""

    @property
    def copies(self) -> int:
        """How many times the task was trained at once."""

    @property
    def tokens_per_second(self) -> float:
        """Real tokens per second."""

    @property
    def rows_per_second(self) -> float:
        """Rows per second."""

    @property
    def padding(self) -> float:
        """Share of the positions that is padding."""


@dataclass(frozen=True)
class Round:
    """One measurement of every side, one right after the other, and of the machine."""

    number: int
    timings: Mapping[str, Speed]
    """By side, in the order in which they were measured."""
    machine_rates: Mapping[str, float]
    """Operations per second of the machine's matrix product, by number format."""

    def milliseconds_per_step(self, side: str) -> float:
        """Return the milliseconds of an optimiser step of a side, the mean over all of its steps."""
        return 1000 * self.timings[side].seconds / self.timings[side].steps


def order_of(names: Sequence[str], number: int) -> list[str]:
    """Return the order of a round, counted from 1: each starts elsewhere, and every other one runs backwards.

    Within ``2·len(names)`` rounds every side stands twice at every position.
    """
    start = (number - 1) // 2 % len(names)
    turned = [*names[start:], *names[:start]]
    return turned if number % 2 else turned[::-1]


def measured_rounds(
    names: Sequence[str],
    measure: Callable[[str], Speed],
    measure_machine: Callable[[], Mapping[str, float]],
    rounds: int,
) -> Iterator[Round]:
    """Measure every side once beforehand, which is forgotten, and then round by round.

    Args:
        names: the sides.
        measure: makes one measurement of a side.
        measure_machine: measures the machine's rates, once per round.
        rounds: rounds to yield.
    """
    for name in names:
        measure(name)
    for number in range(1, rounds + 1):
        rates = measure_machine()
        timings = {}
        for name in order_of(names, number):
            gc.collect()  # or one side would pay for another's garbage
            timings[name] = measure(name)
        yield Round(number, timings, rates)
