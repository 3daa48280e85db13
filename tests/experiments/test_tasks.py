"""A task's scores are checked against their own details, with scikit-learn as the oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from experiments.errors import ExperimentError
from experiments.tasks import CLASSIFICATION, Metric, task_named


def scored(labels: list[int], predicted: list[int], classes: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Score by scikit-learn; macro averages leave out classes that neither labels nor predictions have."""
    present = sorted({*labels, *predicted})
    macro = precision_recall_fscore_support(labels, predicted, labels=present, average="macro", zero_division=0)
    by_class = precision_recall_fscore_support(labels, predicted, labels=range(classes), zero_division=0)
    metrics = dict(zip(("macro_precision", "macro_recall", "macro_f1"), map(float, macro[:3]), strict=True))
    accuracies = [accuracy_score(np.equal(labels, k), np.equal(predicted, k)) for k in range(classes)]
    names = ("class", "accuracy", "precision", "recall", "f1", "support")
    rows = zip(map(str, range(classes)), accuracies, *by_class, strict=True)
    per_class = [dict(zip(names, row, strict=True)) for row in rows]
    confusion = confusion_matrix(labels, predicted, labels=range(classes)).tolist()
    return metrics | {"accuracy": accuracy_score(labels, predicted)}, {"per_class": per_class, "confusion": confusion}


PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


@given(pairs=PAIRS)
@settings(max_examples=60, deadline=None)
def test_true_scores_are_in_order(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = map(list, zip(*pairs, strict=True))
    assert CLASSIFICATION.fault(*scored(labels, predicted, 4)) is None


@pytest.mark.parametrize("name", ["accuracy", "macro_precision", "macro_recall", "macro_f1"])
def test_every_recorded_metric_is_held_against_the_confusion_matrix(name: str) -> None:
    metrics, details = scored([0, 0, 1, 2, 2], [0, 1, 1, 2, 0], 3)
    fault = CLASSIFICATION.fault(metrics | {name: 0.999}, details)
    assert fault is not None and fault.startswith(f"{name} is 0.999, and the confusion matrix gives ")


def test_a_metric_that_a_record_lacks_is_no_fault() -> None:
    metrics, details = scored([0, 1], [0, 1], 2)
    del metrics["macro_recall"]
    assert CLASSIFICATION.fault(metrics, details) is None
    assert CLASSIFICATION.fault(metrics | {"accuracy": None}, details) is None


def test_an_unknown_metric_or_task_is_refused_with_the_nearest() -> None:
    with pytest.raises(ExperimentError, match=r"macro_f2.*macro_f1"):
        CLASSIFICATION.metric("macro_f2")
    with pytest.raises(ExperimentError, match=r"clasification.*classification"):
        task_named("clasification")


def test_better_follows_the_direction_of_the_metric() -> None:
    assert CLASSIFICATION.primary_metric.better(0.7, 0.6)
    loss = Metric(name="loss", title="loss", higher_is_better=False)
    assert loss.better(0.6, 0.7) and not loss.better(0.7, 0.7)
