"""Tests over rows against closed forms, other libraries and simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef, precision_score, recall_score
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from experiments.statistics.rows import (
    Answers,
    accuracy,
    bootstrap_interval,
    difference,
    equally_often_right,
    macro_f1,
    macro_precision,
    macro_recall,
    matthews,
    mcnemar,
    permutation_p_value,
)


def answers(rows: int = 300, skill: tuple[float, float] = (0.8, 0.7), seed: int = 0, size: int = 1) -> Answers:
    """Return answers that are right with the given chances; rows come in groups of ``size`` that share their fate."""
    generator = np.random.default_rng(seed)
    groups = np.repeat(np.arange(rows // size), size)
    labels = generator.integers(0, 4, rows)

    def model(chance: float) -> np.ndarray:
        right = (generator.random(rows // size) < chance)[groups]
        return np.where(right, labels, (labels + 1) % 4)

    return Answers(labels, model(skill[0]), model(skill[1]), groups if size > 1 else None)


@pytest.mark.parametrize("size", [1, 6])
def test_metrics_from_counts_by_class_are_scikit_learns(size: int) -> None:
    given = answers(size=size)
    total = given.class_counts().sum(axis=0)
    for predicted, counts in zip((given.first, given.second), total, strict=True):
        macro = {"y_true": given.labels, "y_pred": predicted, "average": "macro"}
        assert accuracy(counts) == pytest.approx(accuracy_score(given.labels, predicted))
        assert macro_f1(counts) == pytest.approx(f1_score(**macro))
        assert macro_precision(counts) == pytest.approx(precision_score(**macro))
        assert macro_recall(counts) == pytest.approx(recall_score(**macro))
        assert matthews(counts) == pytest.approx(matthews_corrcoef(given.labels, predicted))


def test_metrics_of_a_model_with_one_answer_are_scikit_learns() -> None:
    labels, predicted = np.array([0, 0, 1, 2, 2]), np.ones(5, dtype=int)
    counts = Answers(labels, predicted, labels).class_counts().sum(axis=0)[0]
    macro = {"y_true": labels, "y_pred": predicted, "average": "macro", "zero_division": 0}
    assert macro_precision(counts) == pytest.approx(precision_score(**macro))
    assert macro_recall(counts) == pytest.approx(recall_score(**macro))
    assert matthews(counts) == matthews_corrcoef(labels, predicted) == 0


def test_a_class_that_never_occurs_is_left_out_of_macro_f1() -> None:
    labels = np.array([0, 0, 2, 2])
    predicted = np.array([0, 2, 2, 2])
    total = Answers(labels, predicted, labels).class_counts().sum(axis=0)
    assert macro_f1(total[0]) == pytest.approx(f1_score(labels, predicted, average="macro"))


def test_the_bootstrap_interval_is_scipys_where_rows_stand_alone() -> None:
    given = answers()
    low, high = bootstrap_interval(given, accuracy, np.random.default_rng(0), resamples=1500)
    paired = (given.first == given.labels).astype(float) - (given.second == given.labels)
    oracle = stats.bootstrap(
        (paired,), np.mean, method="percentile", n_resamples=1500, rng=np.random.default_rng(1)
    ).confidence_interval
    assert (low, high) == (pytest.approx(oracle.low, abs=0.008), pytest.approx(oracle.high, abs=0.008))


def test_rows_that_hang_together_make_the_interval_wider_by_the_root_of_their_number() -> None:
    grouped = answers(rows=960, size=16)
    alone = Answers(grouped.labels, grouped.first, grouped.second)
    widths = [
        np.diff(bootstrap_interval(given, accuracy, np.random.default_rng(0), resamples=300))[0]
        for given in (grouped, alone)
    ]
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.2)


def test_the_permutation_is_exact_where_only_a_few_rows_differ() -> None:
    labels = np.zeros(20, dtype=int)
    second = labels.copy()
    second[:5] = 1  # the first model is right on five more rows: p = 2 / 2**5 by counting sign patterns
    p_value = permutation_p_value(Answers(labels, labels, second), accuracy, np.random.default_rng(0), resamples=1999)
    assert p_value == pytest.approx(2 / 2**5, abs=0.015)


def test_a_given_generator_gives_the_same_numbers_again() -> None:
    given = answers(rows=60, size=3)
    for metric in (accuracy, macro_f1):
        first, second = (permutation_p_value(given, metric, np.random.default_rng(7), resamples=200) for _ in range(2))
        assert first == second
    assert difference(given.class_counts().sum(axis=0), accuracy) == pytest.approx(
        np.mean(given.first == given.labels) - np.mean(given.second == given.labels)
    )


def test_permuting_by_group_keeps_its_level_where_permuting_rows_does_not() -> None:
    rejections = np.zeros(2)
    for seed in range(60):
        grouped = answers(rows=200, skill=(0.7, 0.7), seed=seed, size=20)
        alone = Answers(grouped.labels, grouped.first, grouped.second)
        for index, given in enumerate((grouped, alone)):
            rejections[index] += permutation_p_value(given, accuracy, np.random.default_rng(seed), resamples=59) <= 0.05
    assert rejections[0] / 60 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 60)
    assert rejections[1] / 60 > 0.3


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (8, 2), (3, 3), (0, 12)])
def test_mcnemars_test_is_that_of_statsmodels(only_first: int, only_second: int) -> None:
    oracle = statsmodels_mcnemar([[5, only_first], [only_second, 5]], exact=True).pvalue
    assert mcnemar(only_first, only_second) == pytest.approx(1.0 if only_first + only_second == 0 else oracle)


def test_rows_in_groups_get_a_test_by_group() -> None:
    right = np.ones((1, 2, 8), dtype=bool)
    right[0, 1, :4] = False
    groups = pd.Series(["a", "a", "b", "b", "c", "c", "d", "d"])
    assert equally_often_right(right, None).name == "McNemar's exact test"
    test = equally_often_right(right, groups)
    assert (test.units, test.unit, test.p_value) == (2, "group", pytest.approx(2 / 2**2))


def test_answers_of_other_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="one length"):
        Answers(np.zeros(3, dtype=int), np.zeros(3, dtype=int), np.zeros(2, dtype=int))
