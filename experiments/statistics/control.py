"""Many schemes against one control: a spread that all share, and intervals that hold together.

With two seeds a scheme's own spread says little. Schemes differ in their means, and their seeds' spread is about the
same, so it is pooled over all of them. Whether that is so is tested, and outliers are named.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance
from typing import Literal

from scipy import stats

from experiments.statistics.finite import require_finite
from experiments.statistics.multiplicity import ALPHA, holm

MOST_FOR_DUNNETT = 40
"""Comparisons up to which Dunnett's test is made; its integral has as many dimensions. Above, Holm's procedure is."""
OUTLYING = 3.0
"""Times the pooled standard deviation from which a scheme's own spread is named."""

Standing = Literal["better", "worse", "not told apart"]


@dataclass(frozen=True)
class AgainstControl:
    """One scheme compared with the control."""

    name: str
    seeds: int
    mean: float
    difference: float
    """Its mean minus the control's."""
    low: float
    high: float
    """Ends of an interval that excludes 0 exactly if ``p_value`` is at most 0.05."""
    p_value: float
    """Adjusted for all comparisons."""
    standing: Standing


@dataclass(frozen=True)
class ControlFamily:
    """All schemes compared with one control."""

    rows: tuple[AgainstControl, ...]
    """From the best mean to the worst."""
    control_mean: float
    pooled_sd: float
    """Standard deviation over seeds, pooled over all schemes and the control."""
    freedom: int
    """Its degrees of freedom."""
    equal_spread: float | None
    """p-value of Bartlett's test that all spreads are equal; None where fewer than two can be compared."""
    outliers: tuple[str, ...]
    """Schemes whose own standard deviation is above three times the pooled one."""
    method: str
    """Name of the procedure."""


def compare_with_control(
    control: Sequence[float], others: Mapping[str, Sequence[float]], *, higher_is_better: bool
) -> ControlFamily:
    """Compare every scheme with the control: Dunnett's test (1955), or pooled t-tests by Holm's procedure for many.

    The t of a scheme with n seeds, against a control with n₀, is ``(x̄ - x̄₀)/(s·√(1/n + 1/n₀))``. Here s² is the
    variance pooled over all groups, and t has the degrees of freedom of s.

    Args:
        control: scores of the control, one per seed, at least one.
        others: scores by scheme, at least one scheme and score.
        higher_is_better: direction of the score.

    Raises:
        ValueError: a score is not finite, or no group has two seeds, so that nothing tells the spread.
    """
    groups = {"control": list(control), **{name: list(values) for name, values in others.items()}}
    for values in groups.values():
        require_finite(values)
    freedom = sum(len(values) - 1 for values in groups.values())
    if freedom < 1 or not others or not all(groups.values()):
        raise ValueError("a comparison needs a score of every scheme, and two seeds of one of them at least")
    several = {name: values for name, values in groups.items() if len(values) > 1}
    pooled = math.sqrt(sum((len(values) - 1) * variance(values) for values in several.values()) / freedom)
    base = fmean(control)
    differences = {name: fmean(values) - base for name, values in others.items()}
    if pooled == 0:
        ends = {name: (value, value, float(value == 0)) for name, value in differences.items()}
        method = "no spread at all"
    elif len(others) <= MOST_FOR_DUNNETT:
        ends, method = by_dunnett(control, others), "Dunnett's test"
    else:
        ends, method = by_holm(control, others, differences, pooled, freedom), "pooled t-tests by Holm's procedure"
    sign = 1 if higher_is_better else -1
    rows = [
        AgainstControl(
            name=name,
            seeds=len(others[name]),
            mean=base + difference,
            difference=difference,
            low=ends[name][0],
            high=ends[name][1],
            p_value=ends[name][2],
            standing=standing_of(sign * difference, ends[name][2]),
        )
        for name, difference in differences.items()
    ]
    spreads = [values for values in several.values() if variance(values) > 0]
    return ControlFamily(
        rows=tuple(sorted(rows, key=lambda row: -sign * row.mean)),
        control_mean=base,
        pooled_sd=pooled,
        freedom=freedom,
        equal_spread=float(stats.bartlett(*spreads).pvalue) if len(spreads) > 1 else None,
        outliers=tuple(name for name, values in several.items() if math.sqrt(variance(values)) > OUTLYING * pooled),
        method=method,
    )


Ends = dict[str, tuple[float, float, float]]
"""Interval and adjusted p-value by scheme."""


def by_dunnett(control: Sequence[float], others: Mapping[str, Sequence[float]]) -> Ends:
    """Return what Dunnett's test says; its integral is drawn from a fixed seed."""
    result = stats.dunnett(*others.values(), control=control, rng=0)
    interval = result.confidence_interval(1 - ALPHA)
    return {
        name: (float(low), float(high), float(p_value))
        for name, low, high, p_value in zip(others, interval.low, interval.high, result.pvalue, strict=True)
    }


def by_holm(
    control: Sequence[float],
    others: Mapping[str, Sequence[float]],
    differences: Mapping[str, float],
    pooled: float,
    freedom: int,
) -> Ends:
    """Return pooled t-tests by Holm's procedure, each with the interval at its own level."""
    errors = {name: pooled * math.sqrt(1 / len(values) + 1 / len(control)) for name, values in others.items()}
    p_values = [float(2 * stats.t.sf(abs(differences[name]) / errors[name], freedom)) for name in others]
    found = {}
    for name, adjusted in zip(others, holm(p_values), strict=True):
        reach = errors[name] * float(stats.t.ppf(1 - adjusted.level / 2, freedom))
        found[name] = (differences[name] - reach, differences[name] + reach, adjusted.p_value)
    return found


def standing_of(gain: float, p_value: float) -> Standing:
    """Return the word for a gain over the control."""
    if p_value > ALPHA:
        return "not told apart"
    return "better" if gain > 0 else "worse"
