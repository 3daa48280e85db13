"""Mean and spread over seeds, and paired differences between two conditions."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.statistics.finite import require_finite
from experiments.statistics.permutation import sign_flip

CONFIDENCE = 0.95
FEWEST_PAIRS = 2


@dataclass(frozen=True)
class Spread:
    """Mean of a few runs and how far it can be trusted; undefined values are ``None``."""

    count: int
    mean: float | None = None
    sd: float | None = None
    """Sample standard deviation (n − 1 in the denominator)."""
    low: float | None = None
    """Lower end of the t-interval of the mean, at 95 % unless another level was asked for."""
    high: float | None = None
    """Upper end."""


def spread(values: Sequence[float], confidence: float = CONFIDENCE) -> Spread:
    """Mean, standard deviation and t-interval over seeds.

    The interval is ``mean ± t((1 + confidence)/2, n − 1) · sd / √n`` (Student 1908). It assumes that seeds are
    independent and scores roughly normal. One value has a mean but no spread; no value has neither. If all values are
    equal, the interval has no width: it says that nothing varied, but not what might have varied.

    Raises:
        ValueError: if a value is NaN or infinite.
    """
    require_finite(values)
    count = len(values)
    if count == 0:
        return Spread(0)
    mean = statistics.fmean(values)
    if count == 1:
        return Spread(1, mean)
    sd = statistics.stdev(values)
    margin = t_quantile(count - 1, confidence) * sd / math.sqrt(count)
    return Spread(count, mean, sd, mean - margin, mean + margin)


def t_quantile(degrees_of_freedom: float, confidence: float = CONFIDENCE) -> float:
    """Quantile of Student's t with ``(1 − confidence)/2`` above it."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees_of_freedom, (1 + confidence) / 2))


def two_sided(mean: float, se: float, degrees_of_freedom: float) -> float | None:
    """Two-sided p-value of a t-test that a mean is 0; None if its standard error is 0, since nothing varies."""
    from scipy.special import stdtr

    return None if se == 0 else float(2 * stdtr(degrees_of_freedom, -abs(mean) / se))


@dataclass(frozen=True)
class PairedDifference:
    """Differences between two conditions, seed by seed."""

    seeds: tuple[int, ...]
    """Seeds that both conditions have a value for."""
    values: tuple[float, ...]
    """First minus second, in the order of ``seeds``."""

    @property
    def count(self) -> int:
        """Number of pairs."""
        return len(self.values)

    @property
    def is_constant(self) -> bool:
        """Whether all differences are equal, so that nothing is known of their spread."""
        return len(set(self.values)) < 2

    def spread(self, confidence: float = CONFIDENCE) -> Spread:
        """Mean, standard deviation and t-interval of the differences."""
        return spread(self.values, confidence)

    @property
    def p_value(self) -> float | None:
        """Two-sided p-value of the paired t-test: ``t = mean / (sd / √n)`` with n − 1 degrees of freedom.

        None for fewer than two pairs, and if all differences are equal but not 0: then no spread is known to compare
        the mean with. If all are zero, p is 1.

        Raises:
            ValueError: if a difference is NaN or infinite.
        """
        require_finite(self.values)
        if self.count < FEWEST_PAIRS:
            return None
        if self.is_constant:
            return None if self.values[0] else 1.0
        error = statistics.stdev(self.values) / math.sqrt(self.count)
        return two_sided(statistics.fmean(self.values), error, self.count - 1)

    @property
    def sign_flip_p_value(self) -> float | None:
        """Two-sided p-value of the sign-flip permutation test, which assumes symmetry alone.

        With n seeds it is at least 2^(1 − n). None for fewer than two pairs.
        """
        return None if self.count < FEWEST_PAIRS else sign_flip(np.array(self.values))


def paired_difference(first: Mapping[int, float], second: Mapping[int, float]) -> PairedDifference:
    """First minus second over the seeds that both have, sorted.

    Args:
        first: value by seed.
        second: value by seed; seeds that ``first`` lacks are left out.
    """
    seeds = tuple(sorted(first.keys() & second.keys()))
    return PairedDifference(seeds, tuple(first[seed] - second[seed] for seed in seeds))
