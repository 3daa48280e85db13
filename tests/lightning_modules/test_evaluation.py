"""Scores equal scikit-learn's, through the trainer and apart from it, with a ragged last batch."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    matthews_corrcoef,
    precision_score,
    recall_score,
)
from synthetic_batches import SyntheticText, make_classifier, make_trainer

from lightning_modules.training.evaluation import Predictions, predict, score

ORACLES = {
    "accuracy": accuracy_score,
    "macro_precision": lambda y, p: precision_score(y, p, average="macro", zero_division=0),
    "macro_recall": lambda y, p: recall_score(y, p, average="macro", zero_division=0),
    "macro_f1": lambda y, p: f1_score(y, p, average="macro", zero_division=0),
    "matthews": matthews_corrcoef,
}


def predictions_of(labels: list[int], predicted: list[int], classes: int) -> Predictions:
    probabilities = np.eye(classes, dtype=np.float32)[predicted]
    return Predictions(np.arange(len(labels)), np.array(labels), probabilities, None)


@pytest.mark.parametrize("settings", [{}, {"class_weights": "balanced", "label_smoothing": 0.1}])
@pytest.mark.parametrize("stage", ["validation", "test"])
def test_epoch_metrics_of_a_trainer_equal_scikit_learns(stage, settings):
    module, text, trainer = make_classifier(**settings), SyntheticText(), make_trainer(max_epochs=2)
    trainer.fit(module, datamodule=text)
    if stage == "test":
        trainer.test(module, datamodule=text, verbose=False)
    predictions = predict(module, text.val_dataloader())
    assert len(predictions.rows) == 35  # 16 + 16 + 3
    for name, oracle in ORACLES.items():
        expected = oracle(predictions.labels, predictions.predicted)
        assert float(trainer.callback_metrics[f"{stage}/{name}"]) == pytest.approx(expected, abs=1e-6)
    expected = log_loss(predictions.labels, predictions.probabilities.astype(float), labels=[0, 1, 2])
    assert float(trainer.callback_metrics[f"{stage}/loss"]) == pytest.approx(expected, abs=1e-5)
    assert predictions.loss == pytest.approx(expected, abs=1e-5)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_scores_equal_scikit_learns(pairs):
    labels, predicted = map(list, zip(*pairs, strict=True))
    scores = score(predictions_of(labels, predicted, 4), ("a", "b", "c", "d"))
    for name, oracle in ORACLES.items():
        assert scores[name] == pytest.approx(oracle(labels, predicted), abs=1e-6)
    matrix = confusion_matrix(labels, predicted, labels=range(4))
    assert scores["confusion"] == matrix.tolist()
    for index, row in enumerate(scores["per_class"]):
        truth, guess = np.array(labels) == index, np.array(predicted) == index
        assert row["support"] == truth.sum()
        assert row["accuracy"] == pytest.approx((truth == guess).mean())
        assert row["precision"] == pytest.approx(precision_score(truth, guess, zero_division=0), abs=1e-6)
        assert row["recall"] == pytest.approx(recall_score(truth, guess, zero_division=0), abs=1e-6)
        assert row["f1"] == pytest.approx(f1_score(truth, guess, zero_division=0), abs=1e-6)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40))
def test_the_mean_one_vs_rest_accuracy_is_an_identity_of_the_accuracy(pairs):
    labels, predicted = map(list, zip(*pairs, strict=True))
    scores = score(predictions_of(labels, predicted, 5), tuple("abcde"))
    mean = np.mean([row["accuracy"] for row in scores["per_class"]])
    assert mean == pytest.approx(1 - 2 * (1 - scores["accuracy"]) / 5)


def test_scores_are_plain_values_with_the_class_names():
    scores = score(predictions_of([0, 1], [0, 0], 2), ("yes", "no"))
    assert json.loads(json.dumps(scores)) == scores
    assert [row["class"] for row in scores["per_class"]] == ["yes", "no"]
    assert set(scores) == {"loss", *ORACLES, "per_class", "confusion"}


@pytest.mark.parametrize("training", [True, False])
def test_predicting_uses_evaluation_mode_and_leaves_the_module_as_it_came(training):
    module, text = make_classifier(dropout=0.5), SyntheticText()
    module.build(text.facts)
    module.train(training)
    first, second = (predict(module, text.val_dataloader()) for _ in range(2))
    np.testing.assert_array_equal(first.probabilities, second.probabilities)
    np.testing.assert_allclose(first.probabilities.sum(axis=1), 1, rtol=1e-5)
    assert module.training is training
    assert all(parameter.grad is None for parameter in module.parameters())


def test_an_empty_loader_is_an_error():
    module = make_classifier()
    module.build(SyntheticText().facts)
    with pytest.raises(ValueError, match="nothing to evaluate"):
        predict(module, [])
