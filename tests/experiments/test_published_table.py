"""What arithmetic says about the article's table, against confusion matrices and linear programming."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from experiments.evidence.published_table import (
    CLASSES,
    F1,
    OVERALL_ACCURACY,
    RECALL_IS_BELOW_PRECISION,
    contradictions,
    equal_class_sizes_are_possible,
    mean_one_vs_rest_accuracy,
    predictions_are_too_few,
)

CONFUSIONS = st.lists(st.lists(st.integers(1, 40), min_size=5, max_size=5), min_size=5, max_size=5).map(np.array)


@given(CONFUSIONS)
def test_predictions_add_up_to_the_rows_so_no_classifier_has_recall_below_precision_everywhere(
    confusion: np.ndarray,
) -> None:
    rows, predicted, hits = confusion.sum(axis=1), confusion.sum(axis=0), np.diag(confusion)
    recall, precision = hits / rows, hits / predicted
    assert np.sum(rows * recall / precision) == pytest.approx(rows.sum())
    assert not predictions_are_too_few({str(place): bool(below) for place, below in enumerate(recall < precision)})


@given(st.lists(st.floats(0.3, 0.99), min_size=5, max_size=5))
def test_no_class_sizes_mend_it(ratios: list[float]) -> None:
    """Sizes n ≥ 0 with Σ n = 1 and Σ n·R/P = 1 would be a feasible linear programme; one ratio above 1 makes it one."""

    def feasible(recall_over_precision: list[float]) -> bool:
        return linprog(np.zeros(5), A_eq=[[1.0] * 5, recall_over_precision], b_eq=[1.0, 1.0]).status == 0

    assert not feasible(ratios)
    assert feasible([*ratios[:4], 1.2])


@given(CONFUSIONS)
def test_overall_accuracy_fixes_the_mean_one_vs_rest_accuracy(confusion: np.ndarray) -> None:
    total, hits = confusion.sum(), np.diag(confusion)
    wrong = confusion.sum(axis=1) + confusion.sum(axis=0) - 2 * hits
    assert np.mean(1 - wrong / total) == pytest.approx(mean_one_vs_rest_accuracy(hits.sum() / total, 5))


@given(st.lists(st.tuples(st.floats(0.05, 0.9), st.floats(0.0, 0.09)), min_size=5, max_size=5))
def test_at_equal_sizes_accuracy_is_at_most_the_mean_f1_where_recall_is_below_precision(
    classes: list[tuple[float, float]],
) -> None:
    recall = [low for low, _ in classes]
    f1 = {str(k): 2 * r * (r + above) / (2 * r + above) for k, (r, above) in enumerate(classes)}
    assert equal_class_sizes_are_possible(float(np.mean(recall)), f1, dict.fromkeys(f1, True))


def test_the_published_numbers_contradict_each_other() -> None:
    assert [found.name for found in contradictions()] == ["predictions", "class_accuracy", "class_sizes"]
    assert mean_one_vs_rest_accuracy(OVERALL_ACCURACY, len(CLASSES)) == pytest.approx(0.932)
    assert not equal_class_sizes_are_possible(OVERALL_ACCURACY, F1, RECALL_IS_BELOW_PRECISION)
    assert equal_class_sizes_are_possible(OVERALL_ACCURACY, F1, {**RECALL_IS_BELOW_PRECISION, "A": False})
    assert not predictions_are_too_few({**RECALL_IS_BELOW_PRECISION, "E": False})
