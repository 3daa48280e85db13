"""Training losses and the loss that evaluation reports."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.config import ModelConfig


class CrossEntropy(nn.Module):
    """Cross-entropy, in nats: ``-Σ_k q_k·log softmax(z)_k`` (``q``: the one-hot label, smoothed by s to 1 - s + s/K).

    With class weights the batch's loss is the weighted mean over its rows.
    """

    weight: Tensor | None

    def __init__(self, weight: Tensor | None = None, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar loss of logits ``(B, K)`` and labels ``(B,)``."""
        weight = None if self.weight is None else self.weight.to(logits.dtype)  # double where a network is probed
        return F.cross_entropy(logits, labels, weight, label_smoothing=self.label_smoothing)


class MeanSquaredError(nn.Module):
    """Mean squared error between class probabilities and the one-hot label (Brier 1950, divided by K).

    ::

        Σ_k (softmax(z)_k - [k = label])² / K, averaged over rows (weighted by class if there are class weights)
    """

    weight: Tensor | None

    def __init__(self, weight: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar loss of logits ``(B, K)`` and labels ``(B,)``."""
        target = F.one_hot(labels, logits.shape[-1]).to(logits.dtype)
        errors = (logits.softmax(dim=-1) - target).square().mean(dim=-1)
        if self.weight is None:
            return errors.mean()
        weights = self.weight[labels]
        return (errors * weights).sum() / weights.sum()


def balanced_weights(class_counts: Sequence[int]) -> Tensor:
    """Return N / (K·n_k) for each class k (as scikit-learn's ``balanced``); zero for a class without rows."""
    counts = torch.tensor(class_counts, dtype=torch.float32)
    return torch.where(counts > 0, counts.sum() / (len(counts) * counts), torch.zeros(()))


def build_training_loss(config: ModelConfig, class_counts: Sequence[int]) -> CrossEntropy | MeanSquaredError:
    """Build the loss that training minimises, with the configured weights and smoothing."""
    weight = balanced_weights(class_counts) if config.class_weights == "balanced" else None
    if config.loss == "mean_squared_error":
        return MeanSquaredError(weight)
    return CrossEntropy(weight, config.label_smoothing)


def build_evaluation_loss(config: ModelConfig) -> CrossEntropy | MeanSquaredError:
    """Build the loss that evaluation reports: the same kind without weights or smoothing, a plain mean over rows.

    It can be compared across conditions and with the entropy of the class prior.
    """
    return MeanSquaredError() if config.loss == "mean_squared_error" else CrossEntropy()
