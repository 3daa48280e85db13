"""Verdicts follow from the thresholds of a claim file and intervals over seeds, and from nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from experiments.errors import ExperimentError
from experiments.studies.published import (
    Criterion,
    CriterionStatus,
    Reproduction,
    Rule,
    assess,
    check,
    load_results,
)

NEAR_ZERO = Criterion(says="near zero", quantity="slope", at_least=-0.15, at_most=0.15)
SMALL_GAP = Criterion(says="hardly differ", quantity="gap", below=0.2)


def seeds(**quantities: list[float | None]) -> list[dict[str, float | None]]:
    """Return the quantities of each seed from one list per quantity."""
    return [dict(zip(quantities, values, strict=True)) for values in zip(*quantities.values(), strict=True)]


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ([0.00, 0.01, 0.02], CriterionStatus.MET),
        ([0.14, 0.15, 0.13], CriterionStatus.OPEN),
        ([0.10, 0.05, 0.40], CriterionStatus.OPEN),
        ([0.50, 0.51, 0.52], CriterionStatus.VIOLATED),
        ([-0.50, -0.51, -0.52], CriterionStatus.VIOLATED),
        ([0.0, 0.0, None], CriterionStatus.OPEN),
        ([None, None, None], CriterionStatus.OPEN),
        ([0.15], CriterionStatus.MET),
        ([0.16], CriterionStatus.VIOLATED),
    ],
)
def test_a_condition_is_met_or_violated_by_the_whole_interval(
    values: list[float | None], status: CriterionStatus
) -> None:
    assert check(NEAR_ZERO, seeds(slope=values)).status is status


def test_the_interval_is_students() -> None:
    values = [0.10, 0.12, 0.11, 0.14]
    low, high = stats.t.interval(0.95, 3, stats.tmean(values), stats.sem(values))
    measured = check(NEAR_ZERO, seeds(slope=values)).measured
    assert (measured.low, measured.high) == pytest.approx((low, high))


def test_the_interval_of_a_ratio_is_that_of_its_logarithms_and_never_reaches_0() -> None:
    values = [1e-7, 2e-7, 1.1e-6, 4e-7, 5e-8]
    vanishing = Criterion(says="vanishes", quantity="ratio", below=1e-4, is_ratio=True)
    checked = check(vanishing, seeds(ratio=values))
    ends = stats.t.interval(0.95, 4, np.log(values).mean(), stats.sem(np.log(values)))
    assert (checked.measured.low, checked.measured.high) == pytest.approx(tuple(np.exp(ends)))
    assert checked.measured.mean == pytest.approx(np.mean(values)) and checked.status is CriterionStatus.MET
    plain = check(replace(vanishing, is_ratio=False), seeds(ratio=values)).measured
    assert plain.low is not None and plain.low < 0
    underflowed = check(vanishing, seeds(ratio=[0.0, 1e-7, 2e-7]))
    assert checked.is_geometric and not underflowed.is_geometric, "0 has no logarithm"


@pytest.mark.parametrize(("value", "allowed"), [(0.2, False), (0.1999, True)])
def test_strict_bounds_are_strict(value: float, allowed: bool) -> None:
    assert SMALL_GAP.allows(value) is allowed
    assert SMALL_GAP.excludes(value, value) is not allowed
    assert Criterion(says="", quantity="x", above=value).allows(value) is False
    assert Criterion(says="", quantity="x", at_least=value).allows(value) is True


@pytest.mark.parametrize(
    ("slopes", "gaps", "verdict"),
    [
        ([0.0, 0.01, 0.02], [0.5, 0.5, 0.5], Reproduction.REPRODUCED),
        ([0.4, 0.41, 0.42], [0.1, 0.1, 0.1], Reproduction.NOT_REPRODUCED),
        ([0.4, 0.41, 0.42], [0.5, 0.5, 0.5], Reproduction.INCONCLUSIVE),
        ([0.0, 0.1, 0.3], [0.5, 0.5, 0.5], Reproduction.INCONCLUSIVE),
    ],
)
def test_a_rule_that_names_both_ends_is_inconclusive_between(
    slopes: list[float], gaps: list[float], verdict: Reproduction
) -> None:
    rule = Rule(reproduced=(NEAR_ZERO,), not_reproduced=(SMALL_GAP,))
    assert assess(rule, (), seeds(slope=slopes, gap=gaps)).verdict is verdict


@pytest.mark.parametrize(
    ("slopes", "verdict"),
    [
        ([0.0, 0.01, 0.02], Reproduction.REPRODUCED),
        ([0.4, 0.41, 0.42], Reproduction.NOT_REPRODUCED),
        ([0.0, 0.1, 0.3], Reproduction.INCONCLUSIVE),
    ],
)
def test_a_rule_that_names_one_end_is_refuted_by_a_violated_condition(
    slopes: list[float], verdict: Reproduction
) -> None:
    assert assess(Rule(reproduced=(NEAR_ZERO,)), (), seeds(slope=slopes)).verdict is verdict


def test_findings_decide_nothing() -> None:
    judged = assess(Rule(reproduced=(NEAR_ZERO,)), (SMALL_GAP,), seeds(slope=[0.0, 0.0, 0.0], gap=[1.0, 1.0, 1.0]))
    assert judged.verdict is Reproduction.REPRODUCED
    assert [finding.status for finding in judged.findings] == [CriterionStatus.VIOLATED]


def test_nothing_measured_is_not_run() -> None:
    assert assess(Rule(reproduced=(NEAR_ZERO,)), (), []).verdict is Reproduction.NOT_RUN


def test_an_unknown_quantity_names_the_nearest() -> None:
    with pytest.raises(ExperimentError, match="quantity 'slope' is not known; did you mean 'slopes'"):
        check(NEAR_ZERO, [{"slopes": 1.0}])


def inside(condition: Criterion) -> float:
    """Return a value within the bounds."""
    lower = condition.at_least if condition.at_least is not None else condition.above
    upper = condition.at_most if condition.at_most is not None else condition.below
    if upper is None:
        assert lower is not None, "a condition has a bound"
        return lower + 1
    return upper - 1e-9 * abs(upper) - 1e-12 if lower is None else (lower + upper) / 2


def outside(condition: Criterion) -> float:
    """Return a value beyond the bounds."""
    upper = condition.at_most if condition.at_most is not None else condition.below
    lower = condition.at_least if condition.at_least is not None else condition.above
    if upper is not None:
        return upper + 1
    assert lower is not None, "a condition has a bound"
    return lower - 1


@pytest.mark.parametrize("claim", load_results(), ids=lambda claim: claim.id)
def test_each_claims_thresholds_come_from_its_file(claim) -> None:
    """Quantities within all bounds reproduce; one moved across its own bound, or the bound itself moved, does not."""
    rule = Rule(reproduced=claim.rule.reproduced)
    good = {condition.quantity: inside(condition) for condition in rule.reproduced}
    assert assess(rule, (), [good] * 3).verdict is Reproduction.REPRODUCED
    for condition in rule.reproduced:
        bad = {**good, condition.quantity: outside(condition)}
        assert assess(rule, (), [bad] * 3).verdict is Reproduction.NOT_REPRODUCED
        assert assess(rule, (), [good, bad, good]).verdict is Reproduction.INCONCLUSIVE
        moved = replace(condition, at_least=outside(condition) + 10, at_most=None, above=None, below=None)
        others = [other for other in rule.reproduced if other is not condition]
        assert assess(Rule(reproduced=(*others, moved)), (), [good] * 3).verdict is not Reproduction.REPRODUCED
