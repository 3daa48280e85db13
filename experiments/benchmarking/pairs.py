"""Interleaved pairs, and the median of their ratios with an interval that assumes no distribution. Free of torch."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol

CONFIDENCE = 0.95


class Timed(Protocol):
    """What a pair needs of a timing."""

    @property
    def seconds(self) -> float:
        """Seconds of training."""

    @property
    def tokens(self) -> int:
        """Real tokens trained on."""


@dataclass(frozen=True)
class Pair:
    """Two measurements, one right after the other."""

    number: int
    first: str
    """The side that was measured first."""
    seconds: tuple[float, float]
    """Of the side in question and of the one it is measured against."""
    tokens: tuple[int, int]

    @property
    def ratio(self) -> float:
        """Seconds of the side in question over seconds of the other: above 1 where it is slower."""
        return self.seconds[0] / self.seconds[1]


@dataclass(frozen=True)
class MedianInterval:
    """A median and the order statistics that enclose the population's."""

    median: float
    low: float
    high: float
    coverage: float
    """Probability that an interval made so holds the population's median."""


def interleaved(
    names: tuple[str, str], measure: Callable[[str], Timed], pairs: int, warm_up: bool = True
) -> Iterator[Pair]:
    """Measure pairs, each side first in every other one, so that a slow spell of the machine strikes both alike.

    Args:
        names: the side in question, and the one it is measured against.
        measure: makes one measurement of a side.
        pairs: pairs to yield.
        warm_up: whether to measure each side once beforehand and forget it.
    """
    if warm_up:
        for name in names:
            measure(name)
    for number in range(1, pairs + 1):
        order = names if number % 2 else names[::-1]
        timings = {}
        for name in order:
            gc.collect()  # or one side would pay for the other's garbage
            timings[name] = measure(name)
        ours, theirs = (timings[name] for name in names)
        yield Pair(number, order[0], (ours.seconds, theirs.seconds), (ours.tokens, theirs.tokens))


def median_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> MedianInterval:
    """Return the median with its distribution-free interval.

    The interval from the k-th smallest to the k-th largest of n independent values holds the population's median with
    probability ``1 − 2·P(Binomial(n, 1/2) < k)`` (Thompson 1936); k is the largest with at least ``confidence``. Below
    six values no k has 95 %: then k = 1, and ``coverage`` says what that gives.

    Raises:
        ValueError: where there are no values.
    """
    from scipy.stats import binom

    if not values:
        raise ValueError("a median needs at least one value")
    ordered, count = sorted(values), len(values)

    def coverage(k: int) -> float:
        return max(0.0, 1 - 2 * float(binom.cdf(k - 1, count, 0.5)))

    k = max((k for k in range(1, (count + 1) // 2 + 1) if coverage(k) >= confidence), default=1)
    return MedianInterval(median(ordered), ordered[k - 1], ordered[-k], coverage(k))
