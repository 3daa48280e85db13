"""What a number of seeds can show: practical equivalence and the smallest detectable effect."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np

from experiments.statistics.finite import require_finite
from experiments.statistics.seeds import FEWEST_PAIRS, PairedDifference, t_quantile

POWER = 0.8
NODES = 400
"""Points of the quadrature over the sample's standard deviation."""


def check_delta(delta: float) -> None:
    """Raise :class:`ValueError` unless delta, the smallest difference that matters, is a positive number."""
    if not 0 < delta < math.inf:
        raise ValueError(f"delta is {delta}; it must be a positive number")


def equivalence_p_value(difference: PairedDifference, delta: float) -> float | None:
    """The p-value of two one-sided t-tests (TOST, Schuirmann 1987) that the mean lies within ±delta.

    ``p = max(P(T ≥ (mean + δ)/se), P(T ≤ (mean − δ)/se))`` with n − 1 degrees of freedom. A value of at most α says
    that any difference is too small to matter. None for fewer than two pairs, and if all differences are equal, so that
    no spread is known.

    Raises:
        ValueError: if delta is not a positive number, or a difference is NaN or infinite.
    """
    from statsmodels.stats.weightstats import DescrStatsW

    check_delta(delta)
    require_finite(difference.values)
    if difference.count < FEWEST_PAIRS or difference.is_constant:
        return None
    return float(DescrStatsW(difference.values).ttost_mean(-delta, delta)[0])


def smallest_detectable_effect(sd: float, pairs: int, level: float, power: float = POWER) -> float | None:
    """Mean difference that a two-sided paired t-test finds with chance ``power``.

    It solves :func:`t_test_power` for the effect, to 1e-4 of the chance. For few pairs at a strict level, statsmodels
    and the noncentral t of scipy give no number or a wrong one.

    Args:
        sd: standard deviation of the differences.
        pairs: number of paired seeds.
        level: significance level of the test.
        power: chance of finding the effect if it is that large.

    Returns:
        An effect in the unit of ``sd``. None for fewer than two pairs, or without any spread.

    Raises:
        ValueError: where the standard deviation is NaN or infinite.
    """
    from scipy.optimize import brentq

    require_finite([sd])
    if pairs < FEWEST_PAIRS or sd == 0:
        return None
    chance = t_test_power(pairs, level)
    high = 1.0
    while chance(high) < power:
        high *= 2
    return float(brentq(lambda effect: chance(effect) - power, 0, high)) * sd


def t_test_power(pairs: int, level: float) -> Callable[[float], float]:
    """Chance with which a two-sided paired t-test finds an effect of d standard deviations.

    ``P(|Z + d·√n| > t·S)`` with Z standard normal, t the test's threshold and S² ~ χ²/(n − 1) the sample's variance.
    A Gauss-Legendre quadrature integrates it over the quantiles of S.
    """
    from scipy.special import chdtri, ndtr

    degrees = pairs - 1
    places, weights = nodes()
    sample_sd = np.sqrt(chdtri(degrees, (1 - places) / 2) / degrees)
    thresholds = t_quantile(degrees, 1 - level) * sample_sd

    def chance(effect: float) -> float:
        shift = effect * math.sqrt(pairs)
        return float(weights @ (ndtr(shift - thresholds) + ndtr(-shift - thresholds)) / 2)

    return chance


@cache
def nodes() -> tuple[np.ndarray, np.ndarray]:
    """Places in [−1, 1] and weights of the quadrature."""
    places, weights = np.polynomial.legendre.leggauss(NODES)
    return places, weights
