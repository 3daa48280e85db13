"""Many schemes against one control: as published, as a linear model has it, and rarely wrong where nothing differs."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from experiments.statistics import control as module
from experiments.statistics.control import compare_with_control

CONTROL = [7.40, 8.50, 7.20, 8.24, 9.84, 8.32]
DRUGS = {"a": [9.76, 8.80, 7.68, 9.36], "b": [12.80, 9.68, 12.16, 9.20, 10.55]}


def test_dunnett_gives_the_published_p_values_of_his_blood_counts() -> None:
    family = compare_with_control(CONTROL, DRUGS, higher_is_better=True)
    found = {row.name: row for row in family.rows}
    assert found["a"].p_value == pytest.approx(0.620, abs=0.003)  # as SciPy's documentation has them
    assert found["b"].p_value == pytest.approx(0.006, abs=0.001)
    assert [row.standing for row in family.rows] == ["better", "not told apart"]
    assert found["b"].low > 0 > found["a"].low
    assert family.method == "Dunnett's test"


def test_pooled_tests_are_those_of_a_linear_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_FOR_DUNNETT", 0)
    family = compare_with_control(CONTROL, DRUGS, higher_is_better=True)
    values = np.array([*CONTROL, *DRUGS["a"], *DRUGS["b"]])
    design = np.zeros((15, 3))
    design[:, 0] = 1
    design[6:10, 1] = design[10:, 2] = 1
    fitted = sm.OLS(values, design).fit()
    found = {row.name: row for row in family.rows}
    assert found["a"].difference == pytest.approx(fitted.params[1])
    assert found["a"].p_value == pytest.approx(fitted.pvalues[1])  # the larger of two keeps its own
    assert found["b"].p_value == pytest.approx(2 * fitted.pvalues[2])
    assert (found["a"].low, found["a"].high) == pytest.approx(tuple(fitted.conf_int(0.05)[1]))
    assert (found["b"].low, found["b"].high) == pytest.approx(tuple(fitted.conf_int(0.025)[2]))
    assert family.pooled_sd == pytest.approx(np.sqrt(fitted.mse_resid))
    assert family.freedom == 12


@pytest.mark.parametrize("dunnett", [True, False])
def test_equal_schemes_are_told_apart_in_no_more_than_a_twentieth_of_families(
    dunnett: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_FOR_DUNNETT", 99 if dunnett else 0)
    generator, families, schemes = np.random.default_rng(1), 40 if dunnett else 300, 4 if dunnett else 60
    wrong = 0
    for _ in range(families):
        others = {str(number): generator.normal(size=2).tolist() for number in range(schemes)}
        family = compare_with_control(generator.normal(size=10).tolist(), others, higher_is_better=False)
        wrong += any(row.standing != "not told apart" for row in family.rows)
    assert wrong <= (6 if dunnett else 27)  # 5 % and three standard deviations


def test_the_direction_of_the_score_decides_the_word_and_the_order() -> None:
    others = {"low": [1.0, 1.01], "high": [3.0, 3.01]}
    loss = compare_with_control([2.0, 2.01], others, higher_is_better=False)
    assert [(row.name, row.standing) for row in loss.rows] == [("low", "better"), ("high", "worse")]
    score = compare_with_control([2.0, 2.01], others, higher_is_better=True)
    assert [(row.name, row.standing) for row in score.rows] == [("high", "better"), ("low", "worse")]


def test_a_wild_scheme_is_named_and_unequal_spread_is_seen() -> None:
    others = {str(number): [1.0, 1.001, 0.999] for number in range(20)} | {"wild": [0.5, 1.0, 1.5]}
    family = compare_with_control([1.0, 1.001, 0.999], others, higher_is_better=False)
    assert family.outliers == ("wild",)
    assert family.equal_spread is not None and family.equal_spread < 0.001


def test_one_seed_borrows_the_spread_of_the_others_and_nothing_is_made_of_none() -> None:
    family = compare_with_control([1.0, 1.1, 0.9], {"single": [5.0]}, higher_is_better=False)
    assert family.rows[0].standing == "worse" and family.freedom == 2
    for control, others in (([1.0], {"a": [2.0]}), ([1.0, 2.0], {}), ([1.0, 2.0], {"a": []})):
        with pytest.raises(ValueError, match="needs a score of every scheme"):
            compare_with_control(control, others, higher_is_better=False)
    with pytest.raises(ValueError, match="finite"):
        compare_with_control([1.0, float("nan")], {"a": [2.0]}, higher_is_better=False)


def test_seeds_that_all_agree_leave_a_difference_and_no_division_by_zero() -> None:
    family = compare_with_control([1.0, 1.0], {"same": [1.0, 1.0], "other": [2.0, 2.0]}, higher_is_better=False)
    assert [(row.name, row.standing) for row in family.rows] == [("same", "not told apart"), ("other", "worse")]
