"""A task's scores are checked against their own details, with scikit-learn as the oracle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas import read_parquet
from sklearn.metrics import accuracy_score, cohen_kappa_score, confusion_matrix, precision_recall_fscore_support
from tiny_runs import make, tiny_run

from experiments.errors import ExperimentError
from experiments.reporting.frame import Description, make_rows
from experiments.reporting.report_tables import summary_table
from experiments.runs.run_folder import read_record
from experiments.runs.store import Evidence
from experiments.tasks import CLASSIFICATION, TASKS, Metric, task_named


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


def kappa_of(details: Mapping[str, Any]) -> float:
    """Cohen's κ: agreement beyond that of chance, of the confusion matrix."""
    shares = np.array(details["confusion"]) / np.sum(details["confusion"])
    chance = shares.sum(axis=0) @ shares.sum(axis=1)
    return float((np.trace(shares) - chance) / (1 - chance))


def test_a_metric_is_one_line_in_the_spec_and_then_runs_record_and_tables_show_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = tiny_run(tmp_path / "cache", condition="tfidf_logistic_regression", baseline=True)
    make(earlier, tmp_path)
    kappa = Metric(name="kappa", title="Cohen's κ", bounds=(-1.0, 1.0), of_details=kappa_of)
    spec = replace(CLASSIFICATION, metrics=(*CLASSIFICATION.metrics, kappa))
    monkeypatch.setitem(TASKS, spec.name, spec)
    folders = [make(tiny_run(tmp_path / "cache"), tmp_path), earlier.folder(tmp_path)]
    rows = read_parquet(folders[0] / "predictions.parquet")
    expected = cohen_kappa_score(rows["label"], rows["predicted"])
    record = read_record(folders[0])
    assert record.score("test", "kappa") == pytest.approx(expected, abs=1e-9)
    evidence = Evidence.gather(tmp_path / "runs" / "tiny" / "listops", tmp_path / "none")
    table = summary_table(make_rows(evidence, Description(arguments="tiny", title="tiny"))).data
    shown = {line[0]: line[table.columns.index("kappa")] for line in table.rows}
    assert shown == {"pre_ln": f"{expected:.6f}", "tfidf_logistic_regression": ""}
    fault = spec.fault({"kappa": 0.5}, record.scores["test"].details)
    assert fault is not None and fault.startswith("kappa is 0.5, and the details of the scores give ")
    fault = spec.fault({"kappa": 0.5}, {})
    assert fault is not None and fault.endswith("do not give it")


def test_an_unknown_metric_or_task_is_refused_with_the_nearest() -> None:
    with pytest.raises(ExperimentError, match=r"macro_f2.*macro_f1"):
        CLASSIFICATION.metric("macro_f2")
    with pytest.raises(ExperimentError, match=r"clasification.*classification"):
        task_named("clasification")


def test_better_follows_the_direction_of_the_metric() -> None:
    assert CLASSIFICATION.primary_metric.better(0.7, 0.6)
    loss = Metric(name="loss", title="loss", higher_is_better=False)
    assert loss.better(0.6, 0.7) and not loss.better(0.7, 0.7)
