"""Measures of claims against values worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from synthetic_records import CLASSES, LABELS, make_record, predict, with_scores

from experiments.evidence.quantities import (
    class_scores,
    gap_at_common_train_f1,
    gradient_imbalance_at_start,
    gradient_imbalance_in_training,
    has_failed,
    rare_class_lead,
    time_to_target,
)
from experiments.runs.record import Outcome, Record
from experiments.statistics.censoring import Time


def with_curves(**curves: list[Any]) -> Record:
    return replace(make_record("post_ln", 0), history={"validation": curves})


def with_gradients(*blocks: list[float | None]) -> Record:
    norms = {"step": list(range(1, len(blocks) + 1)), "blocks": list(blocks)}
    return replace(make_record("post_ln", 0), history={"gradient_norms": norms})


def counts_of(predicted: np.ndarray) -> np.ndarray:
    """Right, true and predicted rows by class."""
    right = LABELS[predicted == LABELS]
    return np.stack([np.bincount(rows, minlength=len(CLASSES)) for rows in (right, LABELS, predicted)])


def test_scores_of_every_class_are_those_of_scikit_learn() -> None:
    record = make_record("post_ln", 1)
    assert record.test is not None
    metrics, counts = class_scores(record), counts_of(predict(0.8, 1))
    assert len(metrics) == 3 * len(CLASSES)
    for entry in record.test.details["per_class"]:
        for name, key in (("precision", "precision"), ("recall", "recall"), ("F1", "f1")):
            assert metrics[f"{entry['class']} {name}"](counts) == pytest.approx(entry[key])


def test_rare_classes_are_those_well_below_the_mean_support() -> None:
    record = make_record("post_ln", 1)  # supports 60, 36 and 24, whose mean is 40: only the last is below 32
    assert record.test is not None
    f1 = [float(entry["f1"]) for entry in record.test.details["per_class"]]
    lead = rare_class_lead(record)[""](counts_of(predict(0.8, 1)))
    assert lead == pytest.approx(f1[2] - (f1[0] + f1[1]) / 2)
    equal = [{**entry, "support": 40} for entry in record.test.details["per_class"]]
    assert rare_class_lead(with_scores(record, "test", per_class=equal)) == {}


def test_the_gap_is_taken_where_train_f1_crosses_the_common_level() -> None:
    record = with_curves(train_macro_f1=[0.2, 0.6, 0.9], macro_f1=[0.2, 0.5, 0.6])
    # Half way between the first two validations train F1 is 0.4, and validation F1 0.35.
    assert gap_at_common_train_f1(record, 0.4) == pytest.approx(0.05)
    assert gap_at_common_train_f1(record, 0.9) == pytest.approx(0.3)
    assert gap_at_common_train_f1(record, 0.1) is None, "it was beyond the target before it was seen"
    assert gap_at_common_train_f1(record, 0.95) is None
    assert gap_at_common_train_f1(record, None) is None
    assert gap_at_common_train_f1(with_curves(macro_f1=[0.5]), 0.4) is None


def test_times_to_the_target_are_censored_at_the_budget() -> None:
    record = with_curves(step=[50, 100], macro_f1=[0.3, 0.7])
    found = time_to_target(record, 0.6)
    # Three quarters of the way from 0.3 to 0.7 the curve is at 0.6, and training between steps 50 and 100.
    assert found is not None and found.value == pytest.approx(87.5)
    assert time_to_target(record, 0.7) == Time(100, True)
    assert time_to_target(record, 0.2) == Time(50, True, at_first_look=True)
    assert time_to_target(record, 0.8) == Time(200, False)
    assert time_to_target(record, None) is None
    config = {"trainer": {"max_epochs": 4}, "data": {"batch_size": 64}}
    progress = {**record.progress, "steps": 10, "tokens_seen": 1000}
    lost = replace(record, history={}, progress=progress, config=config, outcome=Outcome(status="diverged", step=10))
    assert time_to_target(lost, 0.6) == Time(4 * 13, False)  # 800 rows in batches of 64


def test_the_imbalance_is_in_powers_of_ten_between_the_first_and_the_last_block() -> None:
    record = with_gradients([9.0, 1e-4, 1.0, 1.0, 9.0], [9.0, 10.0, 1.0, 1.0, 9.0], [9.0, 1.0, 1.0, 1.0, 9.0])
    assert gradient_imbalance_at_start(record, None) == pytest.approx(4)
    assert gradient_imbalance_in_training(record, None) == pytest.approx(1)


def test_a_gradient_of_zero_is_far_off_and_an_undefined_one_is_left_out() -> None:
    assert gradient_imbalance_at_start(with_gradients([1.0, 0.0, 1.0, 1.0]), None) == 12
    assert gradient_imbalance_at_start(with_gradients([1.0, 1e14, 1.0, 1.0]), None) == 12, "no further than zero"
    assert gradient_imbalance_at_start(with_gradients([1.0, 1.0, 0.0, 1.0]), None) is None
    assert gradient_imbalance_in_training(with_gradients([1.0, math.inf, 1.0, 1.0]), None) is None
    assert gradient_imbalance_in_training(with_gradients([1.0, 1.0, 1.0]), None) is None, "one block has no ratio"


def test_collapsed_and_diverged_runs_have_failed() -> None:
    records = [make_record("post_ln", 0), make_record("no_residual", 0), make_record("no_norm", 0, diverged=True)]
    assert [has_failed(record) for record in records] == [False, True, True]
