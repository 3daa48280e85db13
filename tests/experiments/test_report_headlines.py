"""The sentence over a figure says what its numbers show: who, how much, and no more than the runs bear."""

from __future__ import annotations

from dataclasses import replace
from math import log
from typing import Any

import numpy as np
import pytest
from synthetic_records import CLASSES, make_record, rows_of, with_scores

from experiments.reporting.headlines import confusion_headline, scores_headline
from experiments.reporting.training_headlines import gradient_headline, learning_headline, loss_headline
from experiments.runs.record import Outcome, Record


def with_f1(condition: str, *scores: float) -> list[Record]:
    records = [make_record(condition, seed) for seed in range(len(scores))]
    return [with_scores(r, "test", macro_f1=score) for r, score in zip(records, scores, strict=True) if r.test]


def with_history(condition: str, seed: int = 0, **history: Any) -> Record:
    return replace(make_record(condition, seed), history=history)


def test_scores_name_the_highest_its_lead_and_whose_intervals_tfidf_lies_in() -> None:
    rows = rows_of(
        *with_f1("pre_ln", 0.69, 0.70, 0.71),
        *with_f1("post_ln", 0.61, 0.60, 0.62),
        *with_f1("no_norm", 0.30, 0.31, 0.32),
        *with_f1("tfidf_logistic_regression", 0.605),
    )
    said = scores_headline(rows)
    assert said.startswith("Pre-LN has the highest test macro F1 (0.700 ± 0.010); ")
    assert "lead over Post-LN, paired by seed, excludes zero (0.090, [" in said
    assert said.endswith(
        "TF-IDF + logistic regression (0.605) lies above the interval of No norm, within the interval of Post-LN, "
        "below the interval of Pre-LN"
    )


def test_of_many_conditions_the_intervals_that_tfidf_lies_in_are_counted() -> None:
    scores = {"pre_ln": 0.7, "post_ln": 0.6, "no_norm": 0.6, "plain": 0.3, "no_residual": 0.2}
    records = [record for name, f1 in scores.items() for record in with_f1(name, f1 - 0.01, f1, f1 + 0.01)]
    said = scores_headline(rows_of(*records, *with_f1("tfidf_logistic_regression", 0.605)))
    assert said.endswith("; TF-IDF + logistic regression (0.605) lies above 2, within 2, below 1 of 5 intervals")
    said = scores_headline(rows_of(*records, *with_f1("tfidf_logistic_regression", 0.9)))
    assert said.endswith("; TF-IDF + logistic regression (0.900) lies above all 5 intervals")


def test_a_lead_that_seeds_do_not_bear_is_said_to_include_zero() -> None:
    said = scores_headline(rows_of(*with_f1("pre_ln", 0.69, 0.70, 0.74), *with_f1("post_ln", 0.70, 0.69, 0.70)))
    assert "paired by seed, includes zero" in said


def test_one_seed_has_no_lead_and_no_intervals() -> None:
    rows = rows_of(*with_f1("pre_ln", 0.7), *with_f1("no_norm", 0.6), *with_f1("tfidf_logistic_regression", 0.65))
    assert scores_headline(rows) == "Pre-LN has the highest test macro F1 (0.700); next comes No norm (0.600)"


def test_runs_without_scores_are_said_to_have_none() -> None:
    assert scores_headline(rows_of(make_record("pre_ln", 0, diverged=True))) == "No network has test scores"


def test_losses_name_the_lowest_and_what_never_gets_below_the_class_prior() -> None:
    prior = -sum(share * log(share) for share in (0.5, 0.3, 0.2))
    rows = rows_of(
        with_history("pre_ln", 0, validation={"step": [1, 2], "loss": [0.9, 1.2]}),
        with_history("pre_ln", 1, validation={"step": [1, 2], "loss": [1.0, 0.7]}),
        with_history("no_norm", 0, validation={"step": [1, 2], "loss": [prior + 0.01, None]}),
    )
    assert loss_headline(rows) == (
        "Validation loss falls lowest in Pre-LN: to 0.8 (mean over seeds of the least); "
        "it never gets below the class prior in No norm"
    )


def test_learning_names_who_is_first_by_the_median_and_who_never_arrives() -> None:
    curves = {"pre_ln": [0.9, 0.9], "post_ln": [0.1, 0.9], "no_norm": [0.1, 0.2]}
    records = [
        with_history(name, seed, validation={"step": [10, 20], "macro_f1": scores})
        for name, scores in curves.items()
        for seed in (0, 1, 2)
    ]
    said = learning_headline(rows_of(*records, make_record("tfidf_logistic_regression", 0)))
    assert said.startswith("Pre-LN reaches 90 % of TF-IDF's validation score (0.")
    assert said.endswith(") first, after 10 steps (median); No norm never does")
    without = learning_headline(rows_of(*records))
    assert without == "Post-LN gets highest on validation: macro F1 0.900, mean over seeds of each run's best"


def test_the_confusion_that_most_conditions_share_is_named_and_collapsed_ones_have_no_say() -> None:
    rows = rows_of(*(make_record(name, 0) for name in ("post_ln", "pre_ln", "no_residual", "no_norm")))
    shared, other = np.array([[0.8, 0.2, 0], [0, 1, 0], [0, 0, 1]]), np.array([[1, 0, 0], [0, 0.5, 0.5], [0, 0, 1]])
    matrices = {
        "post_ln": shared,
        "pre_ln": shared + np.array([[-0.1, 0.1, 0], [0, 0, 0], [0, 0, 0]]),
        "no_norm": other,
    }
    collapsed = np.array([[1, 0, 0], [1, 0, 0], [1, 0, 0]])
    said = confusion_headline(CLASSES, [(row, matrices.get(row.condition, collapsed)) for row in rows])
    assert said == (
        "Most frequent confusion in 2 of 3 conditions that trained in every run: "
        "torch taken for numpy (20 to 30 % of its rows)"
    )
    assert confusion_headline(CLASSES, [(rows[0], np.eye(3))]) == "No class is taken for another"
    lost = [row for row in rows if row.condition == "no_residual"]
    assert lost[0].records[0].outcome.status == Outcome(status="collapsed", step=1).status
    assert confusion_headline(CLASSES, [(lost[0], collapsed)]) == "Every condition has runs that did not train"


def norms(first: float) -> dict[str, Any]:
    return {"gradient_norms": {"step": [1, 50], "blocks": [[9.0, first, 3.0, 2.0, 9.0], [9.0, 1e9, 1.0, 1.0, 9.0]]}}


@pytest.mark.parametrize(
    ("first", "said"),
    [
        ((2 / 1200, 4.0), "1,200 times smaller in Pre-LN; within 2.0 times in the other"),
        ((2e5, 2.0), "100,000 times larger in Pre-LN; within 1.0 times in the other"),
        ((0.0, 2.0), "at least 10^12 times smaller in Pre-LN; within 1.0 times in the other"),
        ((2.0,), "about as large in Pre-LN"),
    ],
)
def test_gradients_of_the_first_block_are_compared_when_training_starts(first: tuple[float, ...], said: str) -> None:
    pairs = zip(("pre_ln", "no_norm"), first, strict=False)
    rows = rows_of(*(with_history(name, 0, **norms(value)) for name, value in pairs))
    assert gradient_headline(rows) == f"First block's gradient over the last one's: {said}"


def test_without_two_blocks_there_is_no_comparison() -> None:
    assert gradient_headline(rows_of(with_history("pre_ln"))).startswith("No network has two blocks")
