"""A collapse of a classifier is what the protocol defines as one."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy
from sklearn.metrics import f1_score

from experiments.runs.outcome import majority_macro_f1, nothing_learned, prior_entropy

COUNTS = st.lists(st.integers(0, 40), min_size=2, max_size=6).filter(any)


def judged(**changes: Any) -> str:
    facts: dict[str, Any] = {
        "validation_macro_f1": 0.9,
        "train_cross_entropy": 0.1,
        "validation_counts": [50, 50],
        "train_counts": [50, 50],
    }
    return "collapsed" if nothing_learned(**{**facts, **changes}) else "trained"


@given(COUNTS)
def test_majority_macro_f1_is_scikit_learns(counts: list[int]) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    answers = np.full_like(labels, int(np.argmax(counts)))
    expected = f1_score(labels, answers, average="macro", zero_division=0)
    assert majority_macro_f1(counts) == pytest.approx(expected)


@given(COUNTS)
def test_prior_entropy_is_scipys(counts: list[int]) -> None:
    assert prior_entropy(counts) == pytest.approx(entropy(counts))


def test_a_class_without_rows_adds_no_entropy() -> None:
    assert prior_entropy([5, 5, 0]) == pytest.approx(math.log(2))


def test_a_good_run_has_trained() -> None:
    assert judged() == "trained"


def test_scores_within_the_margin_of_the_majority_are_a_collapse() -> None:
    floor = majority_macro_f1([50, 50]) + 0.02
    assert judged(validation_macro_f1=floor) == "collapsed"
    assert judged(validation_macro_f1=floor + 1e-6) == "trained"


def test_a_train_loss_no_lower_than_the_prior_is_a_collapse() -> None:
    assert judged(train_cross_entropy=math.log(2)) == "collapsed"
    assert judged(train_cross_entropy=math.log(2) - 1e-6) == "trained"
