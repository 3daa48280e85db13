"""A sentence over a table or figure says what its numbers show: who, how much, and no more than the runs bear."""

from __future__ import annotations

from dataclasses import replace
from math import log
from typing import Any

import numpy as np
import pytest
from synthetic_records import CLASSES, make_record, rows_of, with_scores

from experiments.reporting.sentences import (
    against_tfidf,
    budget,
    confusion_sentences,
    gradient_sentences,
    leader,
    learning_sentences,
    loss_sentences,
)
from experiments.runs.record import Outcome, Record
from experiments.tasks import TASKS, Metric


def with_f1(condition: str, *scores: float) -> list[Record]:
    records = [make_record(condition, seed) for seed in range(len(scores))]
    return [with_scores(r, "test", macro_f1=score) for r, score in zip(records, scores, strict=True) if r.test]


def with_history(condition: str, seed: int = 0, **history: Any) -> Record:
    return replace(make_record(condition, seed), history=history)


def test_the_highest_is_named_with_its_lead_and_where_tfidf_lies() -> None:
    rows = rows_of(
        *with_f1("pre_ln", 0.69, 0.70, 0.71),
        *with_f1("post_ln", 0.61, 0.60, 0.62),
        *with_f1("no_norm", 0.30, 0.31, 0.32),
        *with_f1("tfidf_logistic_regression", 0.605),
    )
    first, second, lead, zero = leader(rows)
    assert first == "Pre-LN has the highest test macro F1: 0.700 ± 0.010, 95 % interval [0.675, 0.725] (3 runs)."
    assert second.startswith("Next comes Post-LN: 0.610 ± 0.010, ")
    assert lead.startswith("They differ by 0.090, 95 % interval [")
    assert lead.endswith("]: seeds only, paired.")
    assert zero == "That interval excludes zero (3 seeds)."
    assert against_tfidf(rows) == [
        "TF-IDF + logistic regression reaches 0.605: of 3 intervals, 1 above it, 1 around it, 1 below it."
    ]


def test_a_lead_that_seeds_do_not_bear_is_said_to_include_zero() -> None:
    *_, lead = leader(rows_of(*with_f1("pre_ln", 0.69, 0.70, 0.74), *with_f1("post_ln", 0.70, 0.69, 0.70)))
    assert lead == "That interval includes zero, so the two are not told apart (3 seeds)."


def test_one_seed_has_no_lead_and_no_intervals() -> None:
    rows = rows_of(*with_f1("pre_ln", 0.7), *with_f1("no_norm", 0.6), *with_f1("tfidf_logistic_regression", 0.65))
    assert leader(rows) == [
        "Pre-LN has the highest test macro F1: 0.700 (1 run).",
        "Next comes No norm: 0.600 (1 run).",
        "They share fewer than two seeds, so their difference has no interval.",
    ]
    assert against_tfidf(rows) == ["TF-IDF + logistic regression reaches 0.650."]


def test_runs_without_scores_are_said_to_have_none() -> None:
    lost = rows_of(make_record("pre_ln", 0, diverged=True))
    assert leader(lost) == ["No final run of a network has test scores."]


def test_of_a_metric_that_falls_as_models_improve_the_lowest_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    metric = Metric(name="macro_f1", title="perplexity", higher_is_better=False, bounds=(1.0, float("inf")))
    monkeypatch.setitem(TASKS, "classification", replace(TASKS["classification"], metrics=(metric,)))
    rows = rows_of(*with_f1("pre_ln", 9.0, 9.1), *with_f1("post_ln", 7.0, 7.1))
    assert leader(rows)[0].startswith("Post-LN has the lowest test perplexity: 7.050 ")


def test_the_budget_names_steps_rows_and_seeds() -> None:
    records = [make_record("pre_ln", seed) for seed in (0, 1)]
    records[1].progress["steps"] = 1500
    assert budget(rows_of(*records, make_record("tfidf_logistic_regression", 0))) == (
        "Budget: 200 to 1,500 optimiser steps, 800 training rows, 2 seeds per condition."
    )


def test_losses_name_the_lowest_and_what_never_gets_below_the_class_prior() -> None:
    prior = -sum(share * log(share) for share in (0.5, 0.3, 0.2))
    rows = rows_of(
        with_history("pre_ln", 0, validation={"step": [1, 2], "loss": [0.9, 1.2]}),
        with_history("pre_ln", 1, validation={"step": [1, 2], "loss": [1.0, 0.7]}),
        with_history("no_norm", 0, validation={"step": [1, 2], "loss": [prior + 0.01, None]}),
    )
    title, caption = loss_sentences(rows)
    assert title == "Validation loss falls lowest in Pre-LN: to 0.8"
    assert caption == [
        "Its least value is taken for each seed, then the mean over seeds.",
        "It never gets below the class prior in No norm.",
    ]


def test_learning_names_who_is_first_by_the_median_and_who_never_arrives() -> None:
    curves = {"pre_ln": [0.9, 0.9], "post_ln": [0.1, 0.9], "no_norm": [0.1, 0.2]}
    records = [
        with_history(name, seed, validation={"step": [10, 20], "macro_f1": scores})
        for name, scores in curves.items()
        for seed in (0, 1, 2)
    ]
    title, caption = learning_sentences(rows_of(*records, make_record("tfidf_logistic_regression", 0)))
    assert title.startswith("Pre-LN reaches 90 % of TF-IDF's validation score (0.")
    assert title.endswith(") first, after 10 steps")
    assert caption == ["The step is the median over seeds.", "Never: No norm."]
    without, _ = learning_sentences(rows_of(*records))
    assert without == "Post-LN does best on validation: macro F1 0.900, mean of each run's best"


def test_the_confusion_that_most_conditions_share_is_named_and_collapsed_ones_have_no_say() -> None:
    rows = rows_of(*(make_record(name, 0) for name in ("post_ln", "pre_ln", "no_residual", "no_norm")))
    shared, other = np.array([[0.8, 0.2, 0], [0, 1, 0], [0, 0, 1]]), np.array([[1, 0, 0], [0, 0.5, 0.5], [0, 0, 1]])
    matrices = {
        "post_ln": shared,
        "pre_ln": shared + np.array([[-0.1, 0.1, 0], [0, 0, 0], [0, 0, 0]]),
        "no_norm": other,
    }
    collapsed = np.array([[1, 0, 0], [1, 0, 0], [1, 0, 0]])
    title, caption = confusion_sentences(CLASSES, [(row, matrices.get(row.condition, collapsed)) for row in rows])
    assert title == "Most frequent confusion: torch taken for numpy (20 to 30 % of its rows)"
    assert caption == ["It is the most frequent one in 2 of 3 conditions that trained in every run."]
    assert confusion_sentences(CLASSES, [(rows[0], np.eye(3))])[0] == "No class is taken for another"
    lost = [row for row in rows if row.condition == "no_residual"]
    assert lost[0].records[0].outcome.status == Outcome(status="collapsed", step=1).status
    assert confusion_sentences(CLASSES, [(lost[0], collapsed)])[0] == "Every condition has runs that did not train"


def norms(first: float) -> dict[str, Any]:
    return {"gradient_norms": {"step": [1, 50], "blocks": [[9.0, first, 3.0, 2.0, 9.0], [9.0, 1e9, 1.0, 1.0, 9.0]]}}


@pytest.mark.parametrize(
    ("first", "said"),
    [
        ((2 / 1200, 4.0), "1,200 times smaller in Pre-LN | Within 2.0 times in the other one."),
        ((2e5, 2.0), "100,000 times larger in Pre-LN | Within 1.0 times in the other one."),
        ((0.0, 2.0), "at least 10^12 times smaller in Pre-LN | Within 1.0 times in the other one."),
        ((2.0,), "about as large in Pre-LN"),
    ],
)
def test_gradients_of_the_first_block_are_compared_when_training_starts(first: tuple[float, ...], said: str) -> None:
    pairs = zip(("pre_ln", "no_norm"), first, strict=False)
    rows = rows_of(*(with_history(name, 0, **norms(value)) for name, value in pairs))
    title, caption = gradient_sentences(rows)
    assert " | ".join([title, *caption]) == f"First block's gradient over the last one's: {said}"


def test_without_two_blocks_there_is_no_comparison() -> None:
    assert gradient_sentences(rows_of(with_history("pre_ln")))[0].startswith("No network has two blocks")
