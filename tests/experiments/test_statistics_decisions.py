"""Multiplicity, power, censoring and the rule of verdicts, against closed forms, statsmodels and simulation."""

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
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from experiments.statistics.censoring import Time, compare_times
from experiments.statistics.multiplicity import (
    Interval,
    holm,
    intersection_union_interval,
    intersection_union_p_value,
    intersection_union_sign_flip,
)
from experiments.statistics.outcomes import PairedOutcomes, exact_difference, tango, trained_share
from experiments.statistics.power import equivalence_p_value, smallest_detectable_effect
from experiments.statistics.seeds import PairedDifference
from experiments.statistics.verdicts import (
    AGAINST_CONFIRMING,
    AGAINST_REFUTING,
    Verdict,
    judge_all,
    judge_interval,
)


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


def test_an_intersection_needs_every_component() -> None:
    components = [differences(0.1, 0.11, 0.12), differences(0.01, -0.02, 0.02)]
    assert intersection_union_p_value(components) == components[1].p_value
    interval = intersection_union_interval(components, 0.05, 0.01)
    weakest = stats.t.interval(0.95, 2, np.mean([0.01, -0.02, 0.02]), stats.sem([0.01, -0.02, 0.02]))
    upper = stats.t.interval(0.995, 2, np.mean([0.01, -0.02, 0.02]), stats.sem([0.01, -0.02, 0.02]))
    assert interval.mean == pytest.approx(0.01 / 3)
    assert (interval.low, interval.high) == (pytest.approx(weakest[0]), pytest.approx(upper[1]))
    with pytest.raises(ValueError, match="two pairs"):
        intersection_union_interval([differences(0.1)], 0.05, 0.05)
    assert intersection_union_p_value([differences(0.1, 0.2), differences(0.1)]) is None


def test_a_component_that_falls_is_no_evidence_that_all_rise() -> None:
    rises, falls = differences(0.3, 0.31, 0.3, 0.32), differences(-0.26, -0.25, -0.26, -0.27)
    assert intersection_union_p_value([rises, falls]) == intersection_union_sign_flip([rises, falls]) == 1.0
    assert intersection_union_p_value([falls]) == falls.p_value, "a single effect is tested on both sides"
    assert intersection_union_sign_flip([rises, rises]) == rises.sign_flip_p_value


def test_the_strictest_level_holds_for_a_whole_family() -> None:
    assert {member.strictest for member in holm([0.001, 0.2, None, 0.04])} == {0.05 / 4}


def test_a_claim_that_holds_at_delta_is_seldom_refuted() -> None:
    """Families of nine effects that are δ exactly: in at most 5 of 100 is any ruled out."""
    generator = np.random.default_rng(7)
    families, delta, refuted = 400, 0.01, 0
    for _ in range(families):
        members = [differences(*generator.normal(delta, 0.004, 10).tolist()) for _ in range(9)]
        levels = holm([member.p_value for member in members])
        intervals = [
            intersection_union_interval([member], adjusted.level, adjusted.strictest)
            for member, adjusted in zip(members, levels, strict=True)
        ]
        refuted += any(judge_interval(interval, delta, pairs=10).name == "refuted" for interval in intervals)
    assert refuted / families <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / families)


def test_shares_of_failures_have_exact_intervals() -> None:
    none = PairedOutcomes((False,) * 30, (False,) * 30)
    assert none.p_value == 1.0
    low, high = none.interval(0.05)
    # Clopper-Pearson for 0 of 30 in closed form: 1 - (α/2)^(1/n), here with half of the level on each side.
    assert high == pytest.approx(1 - (0.05 / 4) ** (1 / 30)) and low == pytest.approx(-high)
    apart = PairedOutcomes((False,) * 30, (True,) * 30)
    assert apart.p_value == pytest.approx(2 / 2**30)
    assert apart.interval(0.05)[0] == pytest.approx(2 * (0.05 / 4) ** (1 / 30) - 1)
    some = PairedOutcomes((True, False, False, False), (True, True, True, False))
    assert some.p_value == stats.binomtest(0, 2, 0.5).pvalue
    flat = Interval(0.0, 0.0, 0.0)
    widened = none.widened(flat, 0.05, 0.01)
    assert (widened.mean, widened.low) == (0.0, low) and widened.high == none.interval(0.01)[1] > high
    wide = Interval(0.0, -0.9, 0.9)
    assert none.widened(wide, 0.05, 0.05) == wide


@pytest.mark.parametrize("shares", [(0.0, 0.0), (0.1, 0.1), (0.05, 0.4)])
def test_exact_intervals_hold_the_true_difference(shares: tuple[float, float]) -> None:
    generator = np.random.default_rng(3)
    held = 0
    for _ in range(200):
        favoured, other = (tuple((generator.random(30) < share).tolist()) for share in shares)
        low, high = PairedOutcomes(favoured, other).interval(0.05)
        held += low <= shares[1] - shares[0] <= high
    assert held / 200 >= 0.95 - 2 * math.sqrt(0.05 * 0.95 / 200)


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
    """Where two intervals that ignore the pairs show none."""
    outcomes = PairedOutcomes((False,) * 20, (True,) * 10 + (False,) * 10)
    low, high = outcomes.paired_interval(0.05 / 6)
    assert 0.1 < low < 0.5 < high < 0.8
    assert outcomes.interval(0.05 / 6)[0] < 0
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


def test_equivalence_is_that_of_statsmodels() -> None:
    values = (0.002, -0.003, 0.001, 0.004, -0.001)
    oracle = ttost_paired(np.array(values), np.zeros(5), -0.01, 0.01)[0]
    assert equivalence_p_value(differences(*values), 0.01) == pytest.approx(oracle)
    assert oracle < 0.05
    assert equivalence_p_value(differences(0.1), 0.01) is None
    for constant in (0.0, 0.001, 0.02):
        assert equivalence_p_value(differences(constant, constant), 0.01) is None, "no spread is known"
    with pytest.raises(ValueError, match="positive"):
        equivalence_p_value(differences(*values), 0)


@pytest.mark.parametrize("pairs", [2, 3, 5, 10])
@pytest.mark.parametrize("level", [0.05, 0.05 / 9, 0.05 / 30])
def test_the_smallest_detectable_effect_is_found_in_80_of_100_experiments(pairs: int, level: float) -> None:
    effect = smallest_detectable_effect(0.02, pairs, level)
    assert effect is not None
    experiments = np.random.default_rng(1).normal(effect, 0.02, size=(4000, pairs))
    assert np.mean(stats.ttest_1samp(experiments, 0, axis=1).pvalue <= level) == pytest.approx(0.8, abs=0.02)
    assert smallest_detectable_effect(0.02, 1, level) is None
    assert smallest_detectable_effect(0.0, pairs, level) is None, "seeds that agree tell nothing of the spread"


@pytest.mark.parametrize(("pairs", "level", "power"), [(5, 0.05, 0.8), (10, 0.05 / 9, 0.8), (10, 0.05, 0.95)])
def test_detectable_effects_are_those_of_statsmodels_where_it_has_them(pairs: int, level: float, power: float) -> None:
    effect = smallest_detectable_effect(1.0, pairs, level, power)
    assert effect == pytest.approx(TTestPower().solve_power(nobs=pairs, alpha=level, power=power), rel=1e-3)


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


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        (Interval(0.05, 0.02, 0.08), Verdict("confirmed")),
        (Interval(0.005, 0.001, 0.009), Verdict("refuted")),
        (Interval(-0.05, -0.08, -0.02), Verdict("refuted")),
        (Interval(0.01, 0.002, 0.018), Verdict("confirmed")),
        (Interval(0.005, 0.001, 0.02), Verdict("inconclusive", "small")),
        (Interval(0.005, 0.0, 0.01), Verdict("inconclusive", "undecided")),
        (Interval(0.02, -0.01, 0.05), Verdict("inconclusive", "undecided")),
        (None, Verdict("inconclusive", "few_seeds")),
    ],
)
def test_the_rule(interval: Interval | None, expected: Verdict) -> None:
    assert judge_interval(interval, 0.01, pairs=10) == expected


def test_doubts_and_few_seeds_judge_nothing() -> None:
    good, bad = Interval(0.05, 0.02, 0.08), Interval(-0.05, -0.08, -0.02)
    assert judge_interval(good, 0.01, pairs=2).reason == "few_seeds"
    for doubt in AGAINST_CONFIRMING:
        assert judge_interval(good, 0.01, pairs=9, doubts=[doubt]) == Verdict("inconclusive", doubt)
        assert judge_interval(bad, 0.01, pairs=9, doubts=[doubt]) == Verdict("refuted")
    nothing = Interval(0.0, -0.003, 0.003)
    for doubt in AGAINST_REFUTING:
        assert judge_interval(nothing, 0.01, pairs=9, doubts=[doubt]) == Verdict("inconclusive", doubt)
        harm = Verdict("refuted") if doubt == "no_room" else Verdict("inconclusive", doubt)
        assert judge_interval(bad, 0.01, pairs=9, doubts=[doubt]) == harm
        assert judge_interval(good, 0.01, pairs=9, doubts=[doubt]) == Verdict("confirmed")
    perhaps_harm = Interval(-0.003, -0.008, 0.002)
    assert judge_interval(perhaps_harm, 0.01, pairs=9, doubts=["no_room"]) == Verdict("inconclusive", "no_room")


def test_a_claim_needs_all_its_parts_and_falls_with_one() -> None:
    yes, no, open_ = Verdict("confirmed"), Verdict("refuted"), Verdict("inconclusive", "undecided")
    assert judge_all([yes, yes]).name == "confirmed"
    assert judge_all([yes, open_]).name == "inconclusive"
    assert judge_all([yes, no, open_]).name == "refuted"
    assert judge_all([yes, no, Verdict("not run", "missing")]).name == judge_all([]).name == "not run"


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_two_equal_variants_are_seldom_confirmed(seeds: int) -> None:
    """Families of six comparisons of equals: in at most 5 of 100 is anything confirmed, whatever δ."""
    generator = np.random.default_rng(seeds)
    families = 300
    confirmed = 0
    for _ in range(families):
        members = [differences(*generator.normal(0, 0.02, seeds).tolist()) for _ in range(6)]
        names = []
        for member, adjusted in zip(members, holm([m.p_value for m in members]), strict=True):
            effect = member.spread(1 - adjusted.level)
            assert effect.mean is not None and effect.low is not None and effect.high is not None
            interval = Interval(effect.mean, effect.low, effect.high)
            names.append(judge_interval(interval, 1e-9, pairs=seeds).name)
        confirmed += "confirmed" in names
    assert confirmed / families <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / families)
