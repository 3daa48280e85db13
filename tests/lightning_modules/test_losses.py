"""Losses equal their formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight

from lightning_modules.config import ModelConfig
from lightning_modules.training.losses import balanced_weights, build_evaluation_loss, build_training_loss

COUNTS = (50, 30, 20)


@pytest.fixture
def logits_and_labels():
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(10, 3, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, 3, (10,), generator=generator)


def test_balanced_weights_equal_scikit_learns():
    labels = np.repeat([0, 1, 2], COUNTS)
    expected = compute_class_weight("balanced", classes=np.array([0, 1, 2]), y=labels)
    np.testing.assert_allclose(balanced_weights(COUNTS).numpy(), expected, rtol=1e-6)


def test_a_class_without_training_rows_has_no_weight():
    assert balanced_weights((4, 0)).tolist() == [0.5, 0.0]


@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_cross_entropy_equals_scikit_learns_weighted_log_loss(logits_and_labels, weights):
    logits, labels = logits_and_labels
    loss = build_training_loss(ModelConfig(class_weights=weights), COUNTS).double()
    row_weights = balanced_weights(COUNTS)[labels].numpy() if weights == "balanced" else None
    expected = log_loss(labels, logits.softmax(-1), sample_weight=row_weights, labels=[0, 1, 2])
    assert loss(logits, labels).item() == pytest.approx(expected)


@given(st.floats(0, 0.9))
def test_label_smoothing_mixes_the_target_with_the_uniform_distribution(smoothing):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 2, 1, 0])
    target = (1 - smoothing) * torch.eye(3, dtype=torch.float64)[labels] + smoothing / 3
    expected = -(target * logits.log_softmax(-1)).sum(-1).mean()
    loss = build_training_loss(ModelConfig(label_smoothing=smoothing), COUNTS)
    assert loss(logits, labels).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_mean_squared_error_compares_probabilities_with_the_one_hot_label(logits_and_labels, weights):
    logits, labels = logits_and_labels
    loss = build_training_loss(ModelConfig(loss="mean_squared_error", class_weights=weights), COUNTS).double()
    scores = logits.numpy()
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    rows = ((probabilities - np.eye(3)[labels]) ** 2).mean(axis=1)
    row_weights = balanced_weights(COUNTS)[labels].numpy() if weights == "balanced" else None
    assert loss(logits, labels).item() == pytest.approx(np.average(rows, weights=row_weights))


def test_the_evaluation_loss_has_neither_weights_nor_smoothing(logits_and_labels):
    logits, labels = logits_and_labels
    loss = build_evaluation_loss(ModelConfig(class_weights="balanced", label_smoothing=0.2))
    assert loss(logits, labels).item() == pytest.approx(log_loss(labels, logits.softmax(-1), labels=[0, 1, 2]))
