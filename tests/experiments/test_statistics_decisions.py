"""Multiplicity, failures and censoring, against closed forms, statsmodels and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import minimize_scalar
from scipy.special import xlogy
from statsmodels.stats.multitest import multipletests

from experiments.statistics.censoring import Time, compare_times
from experiments.statistics.multiplicity import holm
from experiments.statistics.outcomes import PairedOutcomes, exact_difference, tango, trained_share
from experiments.statistics.seeds import PairedDifference


def differences(*values: float) -> PairedDifference:
    return PairedDifference(tuple(range(len(values))), values)


def test_holm_by_hand() -> None:
    found = holm([0.04, 0.001, 0.03, 0.012])
    assert [member.p_value for member in found] == pytest.approx([0.06, 0.004, 0.06, 0.036])
    assert [member.rejected for member in found] == [False, True, False, True]
    # α/4 and α/3 for the two that are rejected; the third is not, and the rest keep its level α/2.
    assert [member.level for member in found] == pytest.approx([0.05 / 2, 0.05 / 4, 0.05 / 2, 0.05 / 3])


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 3, 0, 1), (1, 0, 3, 2)])
def test_equal_p_values_share_the_strictest_level_of_theirs_in_any_order(order: tuple[int, ...]) -> None:
    p_values = [0.002, 0.002, 0.02, 0.001]
    found = holm([p_values[place] for place in order])
    assert [member.level for member in found] == pytest.approx([0.05 / (3, 3, 1, 4)[place] for place in order])
    assert all(member.rejected for member in found)


@settings(max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_a_member_is_rejected_exactly_where_its_p_value_is_within_its_level(p_values: list[float]) -> None:
    for p_value, member in zip(p_values, holm(p_values), strict=True):
        if abs(p_value - member.level) > 1e-9:
            assert member.rejected == (p_value < member.level)
        assert member.p_value >= p_value - 1e-15


@pytest.mark.parametrize("seed", range(3))
def test_holm_is_that_of_statsmodels(seed: int) -> None:
    p_values = (np.random.default_rng(seed).random(9) ** 3).round(3).tolist()
    rejected, adjusted, _, _ = multipletests(p_values, method="holm")
    found = holm(p_values)
    assert [member.p_value for member in found] == pytest.approx(adjusted.tolist())
    assert [member.rejected for member in found] == rejected.tolist()


def test_a_test_that_could_not_be_made_still_counts_in_the_family() -> None:
    alone, among = holm([0.01]), holm([0.01, None, None])
    assert (alone[0].p_value, among[0].p_value) == (pytest.approx(0.01), pytest.approx(0.03))
    assert among[1].p_value == 1 and not among[1].rejected
    assert holm([]) == []


def test_the_strictest_level_holds_for_a_whole_family() -> None:
    assert {member.strictest for member in holm([0.001, 0.2, None, 0.04])} == {0.05 / 4}


@pytest.mark.parametrize("level", [0.05, 0.05 / 6])
@pytest.mark.parametrize("pairs", [4, 9])
def test_paired_exact_intervals_hold_the_difference_whatever_the_shares(pairs: int, level: float) -> None:
    """Summed over all tables that can come, at a net of true shares."""
    tables = [(b, c) for b in range(pairs + 1) for c in range(pairs + 1 - b)]
    ends = {table: exact_difference(*table, pairs, level) for table in tables}
    assert all(-1 <= low <= (b - c) / pairs <= high <= 1 for (b, c), (low, high) in ends.items())
    for p12, p21 in itertools.product(np.linspace(0, 1, 26), repeat=2):
        if p12 + p21 <= 1 + 1e-12:
            chances = stats.multinomial(pairs, [p12, p21, max(0.0, 1 - p12 - p21)])
            held = sum(
                chances.pmf([b, c, pairs - b - c])
                for (b, c), (low, high) in ends.items()
                if low - 1e-6 <= p12 - p21 <= high + 1e-6
            )
            assert held >= 1 - level - 1e-9


def test_ten_pairs_of_twenty_that_all_differ_one_way_show_a_difference() -> None:
    outcomes = PairedOutcomes((False,) * 20, (True,) * 10 + (False,) * 10)
    low, high = outcomes.paired_interval(0.05 / 6)
    assert 0.1 < low < 0.5 < high < 0.8
    turned = PairedOutcomes(outcomes.other, outcomes.favoured).paired_interval(0.05 / 6)
    assert turned == pytest.approx((-high, -low))


@pytest.mark.parametrize("counts", [(10, 3, 40), (2, 2, 12), (0, 5, 30)])
@pytest.mark.parametrize("delta", [-0.2, 0.0, 0.1])
def test_the_score_of_a_paired_difference_uses_the_most_likely_shares(
    counts: tuple[int, int, int], delta: float
) -> None:
    """Against a search for the most likely share, in place of the root of its equation."""
    b, c, n = counts

    def against(q: float) -> float:
        chances = np.array([q + delta, q, 1 - 2 * q - delta])
        return -float(xlogy([b, c, n - b - c], np.maximum(chances, 1e-300)).sum())

    found = minimize_scalar(
        against, bounds=(max(0.0, -delta), (1 - delta) / 2), method="bounded", options={"xatol": 1e-12}
    )
    expected = (b - c - n * delta) / math.sqrt(n * (2 * found.x + delta * (1 - delta)))
    assert tango(np.array([b]), np.array([c]), n, delta)[0] == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_runs_that_trained_are_told_from_those_that_did_not() -> None:
    found = trained_share([True, True, False, True], [0.69, 0.7, 0.07, None])
    assert (found.trained, found.runs, found.median) == (3, 4, pytest.approx(0.695))
    oracle = stats.binomtest(3, 4).proportion_ci(0.95, method="exact")
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high))
    assert trained_share([False], [0.07]).median is None


def test_times_that_were_not_reached_draw_the_ratio_towards_zero() -> None:
    reached = {0: Time(100, True), 1: Time(100, True), 2: Time(400, False), 3: Time(400, False)}
    slow = {0: Time(200, True), 1: Time(400, False), 2: Time(200, True), 3: Time(400, False), 9: Time(1, True)}
    found = compare_times(reached, slow)
    assert found.ratios.values == (1.0, 2.0, -1.0)
    assert found.ratios.seeds == (0, 1, 2)
    assert (found.upper_bounds, found.lower_bounds, found.untold) == (1, 1, 1)


def test_times_before_the_first_look_are_bounds_too() -> None:
    early, late = Time(50, True, at_first_look=True), Time(200, True)
    found = compare_times({0: early, 1: late, 2: early}, {0: late, 1: early, 2: early})
    assert found.ratios.values == (2.0, -2.0)
    assert (found.upper_bounds, found.lower_bounds, found.untold) == (1, 1, 1)


@given(
    true_fast=st.lists(st.integers(1, 2000), min_size=3, max_size=6),
    true_slow=st.lists(st.integers(1, 2000), min_size=6, max_size=6),
)
def test_a_ratio_of_which_a_bound_is_known_never_overstates_a_difference(
    true_fast: list[int], true_slow: list[int]
) -> None:
    first_look, budget = 30, 400

    def seen(times: list[int]) -> dict[int, Time]:
        return {
            seed: Time(min(max(time, first_look), budget), time <= budget, at_first_look=time <= first_look)
            for seed, time in enumerate(times)
        }

    found = compare_times(seen(true_fast), seen(true_slow))
    for seed, ratio in zip(found.ratios.seeds, found.ratios.values, strict=True):
        truth = math.log2(true_slow[seed] / true_fast[seed])
        assert abs(ratio) <= abs(truth) + 1e-12
        assert ratio * truth >= 0
