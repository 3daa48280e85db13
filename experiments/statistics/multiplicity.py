"""Several tests at once: Holm over a family, and the intersection-union test of one claim with many components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.statistics.seeds import PairedDifference

ALPHA = 0.05
"""Chance that a family in which nothing is true shows anything at all."""


@dataclass(frozen=True)
class Adjusted:
    """What Holm's procedure says about one member of a family."""

    p_value: float
    """Adjusted p-value: the member is rejected at α if it is at most α."""
    level: float
    """Significance level of the member's own test and of the interval that goes with it."""
    rejected: bool


def holm(p_values: Sequence[float | None], alpha: float = ALPHA) -> list[Adjusted]:
    """Return Holm's step-down procedure (Holm 1979) over a family, in the order given.

    The member with the i-th smallest of m p-values (i from 1) is tested at ``α / (m − i + 1)`` until the first that is
    not rejected; all from there on keep that member's level. The adjusted p-value is ``max over j ≤ i of
    (m − j + 1)·p_(j)``, at most 1. (``statsmodels`` has the same, and collects garbage for half a second in every call:
    the tests compare with it.) The t-interval at a member's level excludes zero exactly where Holm rejects it. (The
    intervals are compatible with the tests, one by one; they are not simultaneous: for that all would need α/m.)

    Args:
        p_values: of every planned test; None for one that could not be made, which still counts in m.
        alpha: family-wise error rate.
    """
    known = [1.0 if p_value is None else p_value for p_value in p_values]
    found: list[Adjusted | None] = [None] * len(known)
    adjusted, level, rejects = 0.0, alpha, True
    for rank, index in enumerate(sorted(range(len(known)), key=known.__getitem__)):
        remaining = len(known) - rank
        adjusted = max(adjusted, min(1.0, remaining * known[index]))
        level = alpha / remaining if rejects else level
        rejects = rejects and known[index] <= level
        found[index] = Adjusted(adjusted, level, rejects)
    return [member for member in found if member is not None]


@dataclass(frozen=True)
class Interval:
    """An effect and its interval at some level, oriented so that positive favours the claim."""

    mean: float
    low: float
    high: float


def intersection_union_p_value(p_values: Sequence[float]) -> float:
    """Return the p-value of "every component has an effect": the largest one (Berger 1982); no adjustment is needed."""
    return max(p_values)


def intersection_union_interval(components: Sequence[PairedDifference], level: float) -> Interval:
    """Return the smallest effect of all components with an interval for it.

    The lower end is the smallest lower end at ``level``: it is positive only where every component's is. The upper end
    is the smallest upper end at ``level`` divided by the number of components K (Bonferroni), since any of the K could
    have come out low by chance.

    Raises:
        ValueError: where a component has fewer than two pairs.
    """
    lower = [component.spread(1 - level) for component in components]
    upper = [component.spread(1 - level / len(components)) for component in components]
    means = [part.mean for part in lower if part.mean is not None]
    lows = [part.low for part in lower if part.low is not None]
    highs = [part.high for part in upper if part.high is not None]
    if not components or len(lows) < len(components):
        raise ValueError("every component needs at least two pairs")
    return Interval(min(means), min(lows), min(highs))
