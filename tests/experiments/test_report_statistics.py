"""Means, intervals and medians against closed forms, libraries and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from synthetic_records import LABELS, scores_of

from experiments.reporting.statistics import Spread, median_steps, spread

SCORES = st.lists(st.floats(0, 1), min_size=2, max_size=12)


def test_two_values_have_the_closed_form_interval() -> None:
    # t(0.975, 1) = tan(0.475 π), and the standard error of two values is half their distance.
    result = spread([0.70, 0.80])
    margin = math.tan(0.475 * math.pi) * 0.05
    assert result.mean == pytest.approx(0.75)
    assert result.sd == pytest.approx(0.1 / math.sqrt(2))
    assert (result.low, result.high) == (pytest.approx(0.75 - margin), pytest.approx(0.75 + margin))


@given(values=SCORES)
def test_the_interval_is_scipys(values: list[float]) -> None:
    result = spread(values)
    assert result.mean == pytest.approx(np.mean(values), abs=1e-12)
    assert result.sd == pytest.approx(np.std(values, ddof=1), abs=1e-12)
    if result.sd and result.sd > 1e-9:  # below, scipy's standard error underflows
        low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
        assert (result.low, result.high) == (pytest.approx(low), pytest.approx(high))


def test_one_value_has_no_spread_and_none_has_nothing() -> None:
    assert spread([0.5]) == Spread(1, 0.5)
    assert spread([]) == Spread(0)


def test_the_interval_covers_the_mean_in_95_of_100_experiments() -> None:
    experiments = np.random.default_rng(0).normal(0.7, 0.02, size=(4000, 5))
    results = [spread(values.tolist()) for values in experiments]
    covered = np.mean([result.low <= 0.7 <= result.high for result in results])  # type: ignore[operator]  # n is 5
    assert covered == pytest.approx(0.95, abs=0.012), "three standard errors of a share over 4,000 experiments"


@pytest.mark.parametrize(
    ("steps", "median"),
    [
        ([100, 200, 300], 200),
        ([100, 200, None], 200),
        ([100, None, None], None),
        ([100, None], 100),
        ([None], None),
        ([], None),
    ],
)
def test_the_median_exists_where_at_least_half_of_the_runs_arrived(steps: list[int | None], median: int | None) -> None:
    assert median_steps(steps) == median


@given(steps=st.lists(st.integers(1, 10_000) | st.none(), min_size=1, max_size=9), later=st.integers(10_001, 20_000))
def test_when_a_late_run_arrives_does_not_matter_to_the_median_of_the_early_half(
    steps: list[int | None], later: int
) -> None:
    known = median_steps(steps)
    if known is not None:
        assert median_steps([later if step is None else step for step in steps]) == known


@given(predicted=st.lists(st.integers(0, 2), min_size=len(LABELS), max_size=len(LABELS)))
def test_the_mean_of_the_one_vs_rest_accuracies_is_fixed_by_the_overall_accuracy(predicted: list[int]) -> None:
    scores = scores_of(LABELS, np.array(predicted), None)
    mean = np.mean([entry["accuracy"] for entry in scores.per_class])
    assert mean == pytest.approx(1 - 2 * (1 - scores.accuracy) / 3)
