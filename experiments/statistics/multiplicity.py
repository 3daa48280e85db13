"""Several tests at once: Holm's procedure over a family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ALPHA = 0.05
"""Chance that a family in which nothing is true shows anything at all."""


@dataclass(frozen=True)
class Adjusted:
    """What Holm's procedure says about one member of a family."""

    p_value: float
    """Adjusted p-value: the member is rejected at α if it is at most α."""
    level: float
    """Significance level of the member's own test and of the lower end that goes with it."""
    strictest: float
    """``α / m``: at this level at most a share α of families has an interval that misses the true effect."""
    rejected: bool


def holm(p_values: Sequence[float | None], alpha: float = ALPHA) -> list[Adjusted]:
    """Holm's step-down procedure (Holm 1979) over a family, in the order given.

    The member with the i-th smallest of m p-values (i from 1) is tested at ``α / (m − i + 1)``. The first member that
    is not rejected ends the descent, and all later ones keep its level. Equal p-values share their strictest level:
    that changes no rejection and makes the order given irrelevant. The adjusted p-value is
    ``max over j ≤ i of (m − j + 1)·p_(j)``, at most 1. A member's t-interval at its level excludes zero exactly if Holm
    rejects it. These intervals match the tests one by one. A statement about any member of the family needs ``α/m``.

    ``statsmodels`` has the same procedure, but every call of it collects garbage for half a second. The tests compare
    with it.

    Args:
        p_values: of every planned test; None for one that could not be made, which still counts in m.
        alpha: family-wise error rate.

    Raises:
        ValueError: if a p-value is NaN, or does not lie between 0 and 1.
    """
    broken = [p_value for p_value in p_values if p_value is not None and not 0 <= p_value <= 1]
    if broken:
        raise ValueError(f"{broken[0]} is no p-value; a test that could not be made has None")
    known = [1.0 if p_value is None else p_value for p_value in p_values]
    found: list[Adjusted | None] = [None] * len(known)
    adjusted, level, rejects = 0.0, alpha, True
    order = sorted(range(len(known)), key=known.__getitem__)
    for rank, index in enumerate(order):
        remaining = len(known) - rank
        adjusted = max(adjusted, min(1.0, remaining * known[index]))
        is_tied = rank > 0 and known[index] == known[order[rank - 1]]
        level = alpha / remaining if rejects and not is_tied else level
        rejects = rejects and known[index] <= level
        found[index] = Adjusted(adjusted, level, alpha / len(known), rejects)
    return [member for member in found if member is not None]
