"""What a number of seeds can show: practical equivalence and the smallest detectable effect."""

from __future__ import annotations

from experiments.statistics.seeds import FEWEST_PAIRS, PairedDifference

POWER = 0.8


def equivalence_p_value(difference: PairedDifference, delta: float) -> float | None:
    """Return the p-value of two one-sided t-tests (TOST, Schuirmann 1987) that the mean lies within ±delta.

    ``p = max(P(T ≥ (mean + δ)/se), P(T ≤ (mean − δ)/se))`` with n − 1 degrees of freedom: at most α says that any
    difference is smaller than what would matter. None for fewer than two pairs.

    Raises:
        ValueError: for a delta that is not positive.
    """
    from statsmodels.stats.weightstats import DescrStatsW

    if delta <= 0:
        raise ValueError(f"delta is {delta}; it must be positive")
    if difference.count < FEWEST_PAIRS:
        return None
    if len(set(difference.values)) == 1:
        return 0.0 if abs(difference.values[0]) < delta else 1.0
    return float(DescrStatsW(difference.values).ttost_mean(-delta, delta)[0])


def smallest_detectable_effect(sd: float, pairs: int, level: float, power: float = POWER) -> float | None:
    """Return the mean difference that a two-sided paired t-test finds with chance ``power``.

    Args:
        sd: standard deviation of the differences.
        pairs: number of paired seeds.
        level: significance level of the test.
        power: chance of finding the effect if it is that large.

    Returns:
        An effect in the unit of ``sd``; None for fewer than two pairs, or without any spread to go by.
    """
    from statsmodels.stats.power import TTestPower

    if pairs < FEWEST_PAIRS or sd == 0:
        return None
    standardised = TTestPower().solve_power(nobs=pairs, alpha=level, power=power, alternative="two-sided")
    return float(standardised) * sd
