"""Means, intervals and medians against closed forms, libraries and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from synthetic_records import LABELS, scores_of

from experiments.statistics.censoring import Time, compare_times, median_steps
from experiments.statistics.medians import median_interval
from experiments.statistics.multiplicity import holm
from experiments.statistics.outcomes import PairedOutcomes, clopper_pearson, trained_share
from experiments.statistics.permutation import sign_flip
from experiments.statistics.rows import Answers
from experiments.statistics.seeds import PairedDifference, Spread, paired_difference, spread

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


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("confidence", [0.95, 0.99])
def test_the_interval_covers_the_mean_as_often_as_it_says(seeds: int, confidence: float) -> None:
    experiments = np.random.default_rng(seeds).normal(0.7, 0.02, size=(2000, seeds))
    results = [spread(values.tolist(), confidence) for values in experiments]
    ends = [(result.low, result.high) for result in results]
    covered = np.mean([low is not None and high is not None and low <= 0.7 <= high for low, high in ends])
    error = math.sqrt(confidence * (1 - confidence) / len(experiments))
    assert covered == pytest.approx(confidence, abs=3 * error), (
        "three standard errors of a share over 2,000 experiments"
    )


@given(values=st.lists(st.floats(-1, 1).filter(lambda x: abs(x) > 1e-6), min_size=2, max_size=10))
def test_the_paired_p_value_is_scipys_and_below_a_level_exactly_where_the_interval_excludes_zero(
    values: list[float],
) -> None:
    difference = PairedDifference(tuple(range(len(values))), tuple(values))
    if np.std(values) < 1e-9:
        return
    first = np.linspace(0, 1, len(values))
    assert difference.p_value == pytest.approx(stats.ttest_rel(first + values, first).pvalue, abs=1e-6)
    for level in (0.05, 0.2):
        interval = difference.spread(1 - level)
        assert interval.low is not None and interval.high is not None and difference.p_value is not None
        excludes = interval.low > 0 or interval.high < 0
        if abs(difference.p_value - level) > 1e-9:
            assert excludes == (difference.p_value < level)


def test_sign_flips_cannot_go_below_what_the_seeds_allow() -> None:
    difference = PairedDifference((0, 1, 2, 3, 4), (0.1, 0.2, 0.1, 0.3, 0.2))
    assert difference.sign_flip_p_value == pytest.approx(2 / 2**5)
    oracle = stats.permutation_test(
        (np.array(difference.values),), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert difference.sign_flip_p_value == pytest.approx(oracle.pvalue)


def test_differences_are_paired_over_the_seeds_that_both_have() -> None:
    difference = paired_difference({0: 0.9, 1: 0.8, 3: 0.7}, {1: 0.5, 0: 0.5, 2: 0.1})
    assert difference.seeds == (0, 1)
    assert difference.values == pytest.approx((0.4, 0.3))
    assert paired_difference({0: 1.0}, {1: 1.0}).p_value is None


def test_equal_differences_have_no_spread_to_be_tested_against() -> None:
    assert PairedDifference((0, 1, 2), (0.0, 0.0, 0.0)).p_value == 1.0
    assert PairedDifference((0, 1, 2), (0.1, 0.1, 0.1)).p_value is None


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_refused_and_give_no_p_value_of_0(broken: float) -> None:
    values = (0.1, broken, 0.2)
    difference = PairedDifference((0, 1, 2), values)
    asked = [
        lambda: spread(values),
        lambda: difference.spread(),
        lambda: difference.p_value,
        lambda: difference.sign_flip_p_value,
        lambda: sign_flip(np.array(values)),
        lambda: sign_flip(np.array([broken])),
        lambda: trained_share([True] * 3, values),
        lambda: Time(broken, True),
    ]
    for ask in asked:
        with pytest.raises(ValueError, match=r"finite|positive"):
            ask()


def test_a_p_value_that_is_none_is_refused() -> None:
    for broken in (math.nan, -0.1, 1.1):
        with pytest.raises(ValueError, match="no p-value"):
            holm([broken, 0.001, 0.2])
    with pytest.raises(ValueError, match="NaN has no place"):
        median_interval([0.1, math.nan])


def test_a_target_that_was_reached_before_the_first_step_is_no_ratio() -> None:
    with pytest.raises(ValueError, match="above 0"):
        compare_times({0: Time(0, True)}, {0: Time(100, True)})


def test_no_pairs_and_no_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="no pairs"):
        PairedOutcomes((), ())
    with pytest.raises(ValueError, match="no pairs"):
        PairedOutcomes((True,), (True, False))
    with pytest.raises(ValueError, match="at least one"):
        clopper_pearson((), 0.05)
    with pytest.raises(ValueError, match="above 0"):
        Answers(*[np.array([], dtype=int)] * 3)


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
    mean = np.mean([entry["accuracy"] for entry in scores.details["per_class"]])
    assert mean == pytest.approx(1 - 2 * (1 - scores.metrics["accuracy"]) / 3)
