"""The median, with an interval that assumes no distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

CONFIDENCE = 0.95


@dataclass(frozen=True)
class MedianInterval:
    """A median and the order statistics that enclose the population's."""

    median: float
    low: float
    high: float
    coverage: float
    """Probability that an interval made so holds the population's median."""


def median_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> MedianInterval:
    """Return the median with its distribution-free interval.

    The interval from the k-th smallest to the k-th largest of n independent values holds the population's median with
    probability ``1 − 2·P(Binomial(n, 1/2) < k)`` (Thompson 1936); k is the largest with at least ``confidence``. Below
    six values no k has 95 %: then k = 1, and ``coverage`` says what that gives.

    Raises:
        ValueError: without values, or if one is NaN.
    """
    from scipy.stats import binom

    if not values:
        raise ValueError("a median needs at least one value")
    if any(value != value for value in values):
        raise ValueError("NaN has no place among ordered values; leave it out")
    ordered, count = sorted(values), len(values)

    def coverage(k: int) -> float:
        return max(0.0, 1 - 2 * float(binom.cdf(k - 1, count, 0.5)))

    k = max((k for k in range(1, (count + 1) // 2 + 1) if coverage(k) >= confidence), default=1)
    return MedianInterval(median(ordered), ordered[k - 1], ordered[-k], coverage(k))
