"""Predictions of a classifier over a split, and their scores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.functional.classification import (
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_precision,
    multiclass_recall,
    multiclass_stat_scores,
)

from lightning_modules.tasks.classification import Batch, TextClassifier


@dataclass(frozen=True)
class Predictions:
    """A classifier's answers for N rows and K classes, in the loader's order."""

    rows: NDArray[np.int64]
    """Row index in the split, ``(N,)``."""

    labels: NDArray[np.int64]
    """True classes, ``(N,)``."""

    probabilities: NDArray[np.float32]
    """Class probabilities, ``(N, K)``."""

    loss: float | None
    """Mean evaluation loss per row (see ``losses.build_evaluation_loss``)."""

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Most probable classes, ``(N,)``."""
        return self.probabilities.argmax(axis=1)


@torch.inference_mode()
def predict(module: TextClassifier, dataloader: Iterable[Batch]) -> Predictions:
    """Run ``module`` over ``dataloader`` in evaluation mode, in float32, on the module's device.

    The module is left in the mode in which it came.

    Raises:
        ValueError: the loader is empty.
    """
    was_training = module.training
    module.eval()
    rows, labels, probabilities, loss = [], [], [], 0.0
    try:
        for batch in dataloader:
            on_device = {name: value.to(module.device) for name, value in batch.items()}
            logits = module(on_device).float()
            loss += float(module.evaluation_loss(logits, on_device["labels"])) * len(logits)
            rows.append(batch["rows"].cpu())
            labels.append(batch["labels"].cpu())
            probabilities.append(logits.softmax(dim=-1).cpu())
    finally:
        module.train(was_training)
    if not rows:
        raise ValueError("there is nothing to predict: the data loader is empty")
    all_rows = torch.cat(rows).numpy()
    return Predictions(all_rows, torch.cat(labels).numpy(), torch.cat(probabilities).numpy(), loss / len(all_rows))


def score(predictions: Predictions, class_names: Sequence[str]) -> dict[str, Any]:
    """Score predictions: the fields of a record's scores, as plain values.

    ``loss``, ``accuracy`` (share of right rows), ``macro_precision``, ``macro_recall``, ``macro_f1``, ``per_class``
    (``class, support, accuracy, precision, recall, f1``; the accuracy is one-vs-rest, (TP + TN)/N) and ``confusion``
    (rows are true classes). A class that stands neither among labels nor among predictions is left out of macro
    averages; a ratio with a zero denominator counts as zero.
    """
    number_of_classes = len(class_names)
    predicted, labels = torch.from_numpy(predictions.predicted), torch.from_numpy(predictions.labels)
    arguments = (predicted, labels, number_of_classes)

    def both(metric: Any) -> tuple[float, list[float]]:
        return float(metric(*arguments, average="macro")), metric(*arguments, average="none").tolist()

    (macro_precision, precision), (macro_recall, recall) = both(multiclass_precision), both(multiclass_recall)
    macro_f1, f1 = both(multiclass_f1_score)
    true_positives, _, true_negatives, _, support = _columns(multiclass_stat_scores(*arguments, average="none"))
    rows = len(labels)
    per_class = [
        {
            "class": name,
            "support": support[index],
            "accuracy": (true_positives[index] + true_negatives[index]) / rows,
            "precision": precision[index],
            "recall": recall[index],
            "f1": f1[index],
        }
        for index, name in enumerate(class_names)
    ]
    return {
        "loss": predictions.loss,
        "accuracy": sum(true_positives) / rows,
        "macro_precision": macro_precision,
        "macro_recall": macro_recall,
        "macro_f1": macro_f1,
        "per_class": per_class,
        "confusion": multiclass_confusion_matrix(*arguments).tolist(),
    }


def _columns(statistics: Tensor) -> list[list[int]]:
    """Return TP, FP, TN, FN and support as lists over classes."""
    return statistics.T.tolist()
