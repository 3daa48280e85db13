"""Measures of claims against values worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from synthetic_records import make_record, with_scores

from experiments.evidence.measures import MEASURES
from experiments.runs.record import Outcome, Record
from experiments.statistics.censoring import Time


def compute(name: str, *records: Record, target: float | None = None) -> Any:
    return MEASURES[name].compute(records, target)


def with_curves(**curves: list[Any]) -> Record:
    return replace(make_record("post_ln", 0), history={"validation": curves})


def with_gradients(*blocks: list[float | None]) -> Record:
    norms = {"step": list(range(1, len(blocks) + 1)), "blocks": list(blocks)}
    return replace(make_record("post_ln", 0), history={"gradient_norms": norms})


def test_scores_are_those_of_the_record() -> None:
    record = make_record("post_ln", 1)
    assert set(record.scores) >= {"test", "train", "validation"} and record.test is not None
    assert compute("macro_f1", record) == record.test.metrics["macro_f1"]
    assert compute("accuracy", record) == record.test.metrics["accuracy"]
    assert compute("generalisation_gap", record) == record.score("train", "macro_f1") - record.score(
        "validation", "macro_f1"
    )
    components = compute("class_precision_recall_f1", record)
    assert components["numpy recall"] == record.test.details["per_class"][1]["recall"]
    assert len(components) == 9 and len(compute("class_accuracy", record)) == 3
    assert compute("macro_f1", make_record("no_norm", 0, diverged=True)) is None


def test_the_gap_is_taken_where_train_f1_crosses_the_common_level() -> None:
    record = with_curves(train_macro_f1=[0.2, 0.6, 0.9], macro_f1=[0.2, 0.5, 0.6])
    # Half way between the first two validations train F1 is 0.4, and validation F1 0.35.
    assert compute("gap_at_common_train_f1", record, target=0.4) == pytest.approx(0.05)
    assert compute("gap_at_common_train_f1", record, target=0.9) == pytest.approx(0.3)
    assert compute("gap_at_common_train_f1", record, target=0.1) is None, "it was beyond the target before it was seen"
    assert compute("gap_at_common_train_f1", record, target=0.95) is None
    assert compute("gap_at_common_train_f1", record) is None
    assert compute("gap_at_common_train_f1", with_curves(macro_f1=[0.5]), target=0.4) is None


def test_times_to_the_target_are_censored_at_the_budget() -> None:
    record = with_curves(step=[50, 100], tokens=[5000, 10000], macro_f1=[0.3, 0.7])
    # Three quarters of the way from 0.3 to 0.7 the curve is at 0.6, and training between steps 50 and 100.
    assert compute("steps_to_target", record, target=0.6).value == pytest.approx(87.5)
    assert compute("tokens_to_target", record, target=0.6).value == pytest.approx(8750)
    assert compute("steps_to_target", record, target=0.7) == Time(100, True)
    assert compute("steps_to_target", record, target=0.2) == Time(50, True, at_first_look=True)
    assert compute("steps_to_target", record, target=0.8) == Time(200, False)
    assert compute("steps_to_target", record) is None
    config = {"trainer": {"max_epochs": 4}, "data": {"batch_size": 64}}
    progress = {**record.progress, "steps": 10, "tokens_seen": 1000}
    lost = replace(record, history={}, progress=progress, config=config, outcome=Outcome(status="diverged", step=10))
    assert compute("steps_to_target", lost, target=0.6) == Time(4 * 13, False)  # 800 rows in batches of 64
    assert compute("tokens_to_target", lost, target=0.6) == Time(5200, False)


def test_the_imbalance_is_in_powers_of_ten_between_the_first_and_the_last_block() -> None:
    record = with_gradients([9.0, 1e-4, 1.0, 1.0, 9.0], [9.0, 10.0, 1.0, 1.0, 9.0], [9.0, 1.0, 1.0, 1.0, 9.0])
    assert compute("gradient_imbalance_at_start", record) == pytest.approx(4)
    assert compute("gradient_imbalance_in_training", record) == pytest.approx(1)
    assert compute("pathological_gradient_share", record) == pytest.approx(1 / 3)
    assert compute("gradient_log_ratio_at_start", record) == pytest.approx(-4)
    assert compute("gradient_log_ratio_in_training", record) == pytest.approx(0)
    assert compute("vanishing_gradient_share", record) == pytest.approx(1 / 3)
    exploding = with_gradients([1.0, 1e4, 1.0, 1.0], [1.0, 999.0, 1.0, 1.0])
    assert compute("pathological_gradient_share", exploding) == 0.5
    assert compute("vanishing_gradient_share", exploding) == 0
    assert compute("exploding_gradient_share", exploding) == 0.5
    assert compute("exploding_gradient_share", record) == 0


def test_a_gradient_of_zero_is_far_off_and_an_undefined_one_is_left_out() -> None:
    assert compute("gradient_imbalance_at_start", with_gradients([1.0, 0.0, 1.0, 1.0])) == 12
    assert compute("gradient_log_ratio_at_start", with_gradients([1.0, 1e-14, 1.0, 1.0])) == -12, "no further than zero"
    assert compute("gradient_log_ratio_at_start", with_gradients([1.0, 1e14, 1.0, 1.0])) == 12
    assert compute("gradient_imbalance_at_start", with_gradients([1.0, 1.0, 0.0, 1.0])) is None
    assert compute("gradient_imbalance_in_training", with_gradients([1.0, math.inf, 1.0, 1.0])) is None
    assert compute("gradient_imbalance_in_training", with_gradients([1.0, 1.0, 1.0])) is None, "one block has no ratio"


def test_failures_are_counted_over_all_learning_rates() -> None:
    records = [make_record("post_ln", 0), make_record("no_residual", 0), make_record("no_norm", 0, diverged=True)]
    assert compute("failure_share", *records) == (False, True, True)
    with pytest.raises(ValueError, match="unpack"):
        compute("macro_f1", *records)


def test_rare_classes_are_those_well_below_the_mean_support() -> None:
    record = make_record("post_ln", 0)  # supports 60, 36 and 24, whose mean is 40: only the last is below 32
    assert record.test is not None
    f1 = [float(entry["f1"]) for entry in record.test.details["per_class"]]
    assert compute("rare_class_lead", record) == pytest.approx(f1[2] - (f1[0] + f1[1]) / 2)
    equal = [{**entry, "support": 40} for entry in record.test.details["per_class"]]
    assert compute("rare_class_lead", with_scores(record, "test", per_class=equal)) is None
