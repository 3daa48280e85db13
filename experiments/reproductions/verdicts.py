"""From numbers over seeds to a verdict, by the thresholds of a claim file and nothing else.

A condition bounds one quantity. Over seeds it is *met* where the whole 95 % t-interval of the mean (of the geometric
mean for a positive ratio, which has no values below 0) lies within the bounds, *violated* where the whole interval lies
outside them, and *open* where the interval crosses one. Then a result is

- ``reproduced`` if all its conditions are met;
- ``not reproduced`` if all conditions that its rule names for that are met or, where it names none, if a condition of
  ``reproduced`` is violated;
- ``inconclusive`` otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from experiments.errors import ExperimentError
from experiments.planning.names import reject_unknown
from experiments.statistics.seeds import Spread, spread


class Status(StrEnum):
    """How a condition stands."""

    MET = "met"
    VIOLATED = "violated"
    OPEN = "open"


class Verdict(StrEnum):
    """What a rule says of a published result."""

    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    INCONCLUSIVE = "inconclusive"
    NOT_RUN = "not run"


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A sentence and the bounds under which it is true of one quantity."""

    says: str
    """What holds where the condition is met."""

    quantity: str
    """Name of the quantity, as the measurement's module in ``rules`` computes it."""

    at_least: float | None = None
    """Smallest value allowed."""

    at_most: float | None = None
    """Largest value allowed."""

    above: float | None = None
    """Value that must be exceeded."""

    below: float | None = None
    """Value that must not be reached."""

    is_ratio: bool = False
    """Whether the quantity is a positive ratio, whose interval is taken on logarithms where every seed's is above 0."""

    def __post_init__(self) -> None:
        if all(bound is None for bound in (self.at_least, self.at_most, self.above, self.below)):
            raise ExperimentError(
                f"the condition on {self.quantity} has no bound; give at_least, at_most, above, below"
            )

    @property
    def bounds(self) -> str:
        """The bounds as text, such as ``−0.15 ≤ post_ln_slope ≤ 0.15``."""
        lower = [f"{value:g} {sign} " for value, sign in ((self.at_least, "≤"), (self.above, "<")) if value is not None]
        upper = [f" {sign} {value:g}" for value, sign in ((self.at_most, "≤"), (self.below, "<")) if value is not None]
        return "".join([*lower, self.quantity, *upper]).replace("-", "−")

    def allows(self, value: float) -> bool:
        """Tell whether one value lies within the bounds."""
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.at_most is None or value <= self.at_most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def excludes(self, low: float, high: float) -> bool:
        """Tell whether every value from ``low`` to ``high`` lies outside the bounds."""
        return (
            (self.at_least is not None and high < self.at_least)
            or (self.at_most is not None and low > self.at_most)
            or (self.above is not None and high <= self.above)
            or (self.below is not None and low >= self.below)
        )


@dataclass(frozen=True)
class Checked:
    """A condition with what was measured."""

    condition: Condition
    measured: Spread
    """Of the seeds that have the quantity."""

    seeds: int
    """Seeds that were measured."""

    status: Status

    is_geometric: bool = False
    """Whether the interval is that of the geometric mean."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """The conditions of a verdict."""

    reproduced: tuple[Condition, ...]
    """All must be met for ``reproduced``."""

    not_reproduced: tuple[Condition, ...] = ()
    """All must be met for ``not reproduced``, where the rule names any."""


@dataclass(frozen=True)
class Judgement:
    """A verdict, with every condition behind it and the findings beside it, which decide nothing."""

    verdict: Verdict
    reproduced: tuple[Checked, ...] = ()
    not_reproduced: tuple[Checked, ...] = ()
    findings: tuple[Checked, ...] = ()


def check(condition: Condition, quantities: Sequence[Mapping[str, float | None]]) -> Checked:
    """Check a condition against the quantities of each seed.

    One value alone, such as a count over a whole grid, stands for itself. A quantity that some seed does not have
    leaves the condition open.

    Raises:
        ExperimentError: where the measurement has no such quantity.
    """
    for of_seed in quantities:
        reject_unknown("quantity", condition.quantity, of_seed)
    values = [of_seed[condition.quantity] for of_seed in quantities]
    known = [value for value in values if value is not None]
    is_geometric = condition.is_ratio and len(known) > 1 and min(known) > 0
    measured = spread_of_ratio(known) if is_geometric else spread(known)
    if measured.mean is None or len(known) < len(values):
        return Checked(condition, measured, len(values), Status.OPEN, is_geometric)
    low = measured.mean if measured.low is None else measured.low
    high = measured.mean if measured.high is None else measured.high
    if condition.allows(low) and condition.allows(high):
        return Checked(condition, measured, len(values), Status.MET, is_geometric)
    excluded = condition.excludes(low, high)
    return Checked(condition, measured, len(values), Status.VIOLATED if excluded else Status.OPEN, is_geometric)


def spread_of_ratio(values: Sequence[float]) -> Spread:
    """Return mean and standard deviation, and the t-interval of the geometric mean: that of the logs, as ratios."""
    logs, found = spread([math.log(value) for value in values]), spread(values)
    if logs.low is None or logs.high is None:
        return found
    return replace(found, low=math.exp(logs.low), high=math.exp(logs.high))


def judge(rule: Rule, findings: Sequence[Condition], quantities: Sequence[Mapping[str, float | None]]) -> Judgement:
    """Return the verdict over the quantities of all seeds; ``not run`` where there are none."""
    if not quantities:
        return Judgement(Verdict.NOT_RUN)
    reproduced = tuple(check(condition, quantities) for condition in rule.reproduced)
    not_reproduced = tuple(check(condition, quantities) for condition in rule.not_reproduced)
    if all(checked.status is Status.MET for checked in reproduced):
        verdict = Verdict.REPRODUCED
    elif (
        all(checked.status is Status.MET for checked in not_reproduced)
        if not_reproduced
        else any(checked.status is Status.VIOLATED for checked in reproduced)
    ):
        verdict = Verdict.NOT_REPRODUCED
    else:
        verdict = Verdict.INCONCLUSIVE
    return Judgement(verdict, reproduced, not_reproduced, tuple(check(finding, quantities) for finding in findings))
