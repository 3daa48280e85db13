"""Predictions of all members over the same rows."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from lightning_modules.population.batch import Batch
from lightning_modules.population.network import PopulationNetwork
from lightning_modules.training.evaluation import Predictions
from lightning_modules.training.losses import CrossEntropy, MeanSquaredError


def predict_members(
    network: PopulationNetwork, batches: Iterable[Batch], loss: CrossEntropy | MeanSquaredError
) -> list[Predictions]:
    """Return every member's predictions of the same batches, with the mean of the evaluation loss over rows.

    Raises:
        ValueError: there are no batches.
    """
    rows, labels, probabilities, sums = [], [], [], []
    for batch in batches:
        logits = network.evaluate(batch).float()  # (M, B, K)
        expected = batch["labels"].to(logits.device).repeat(len(logits))
        sums.append(loss.by_row(logits.flatten(0, 1), expected)[0].view(len(logits), -1).sum(dim=1))
        rows.append(batch["rows"])
        labels.append(batch["labels"])
        probabilities.append(logits.softmax(dim=-1).cpu())
    if not rows:
        raise ValueError("there is nothing to predict: there are no batches")
    all_rows, all_labels = torch.cat(rows).numpy(), torch.cat(labels).numpy()
    losses = (torch.stack(sums).sum(dim=0) / len(all_rows)).tolist()
    by_member = torch.cat(probabilities, dim=1).numpy()
    return [Predictions(all_rows, all_labels, member, value) for member, value in zip(by_member, losses, strict=True)]
