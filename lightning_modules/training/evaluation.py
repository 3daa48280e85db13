"""Predictions of a classifier over a split, and their scores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics import MetricCollection
from torchmetrics.functional.classification import (
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_precision,
    multiclass_recall,
    multiclass_stat_scores,
)

from lightning_modules.tasks.base import Batch, TaskModule
from lightning_modules.training.metrics import alone, classification_metrics


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

    def cross_entropy(self) -> float:
        """Mean cross-entropy in nats, whatever loss was trained."""
        chosen = self.probabilities[np.arange(len(self.labels)), self.labels]
        return float(-np.log(np.clip(chosen.astype(np.float64), 1e-38, None)).mean())

    def columns(self) -> dict[str, NDArray[Any]]:
        """What a table of the rows holds: ``label``, ``predicted`` and ``probability_<class index>``."""
        probabilities = {f"probability_{index}": column for index, column in enumerate(self.probabilities.T)}
        return {"label": self.labels, "predicted": self.predicted, **probabilities}

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Most probable classes, ``(N,)``."""
        return self.probabilities.argmax(axis=1)


def predict(module: TaskModule, batches: Iterable[Batch]) -> Predictions:
    """Run a classifier over batches in evaluation mode, in float32, on its device.

    Raises:
        ValueError: there is no batch.
    """
    rows, labels, probabilities, loss = [], [], [], 0.0
    for batch, observed in module.observations(batches):
        loss += float(observed["loss"]) * observed["rows"]
        rows.append(batch["rows"].cpu())
        labels.append(observed["target"].cpu())
        probabilities.append(observed["logits"].softmax(dim=-1).cpu())
    all_rows = torch.cat(rows).numpy()
    return Predictions(all_rows, torch.cat(labels).numpy(), torch.cat(probabilities).numpy(), loss / len(all_rows))


def score(predictions: Predictions, class_names: Sequence[str]) -> dict[str, Any]:
    """Score predictions, as plain values.

    ``loss``, the metrics of :func:`~lightning_modules.training.metrics.classification_metrics` by name, ``per_class``
    (``class, support, accuracy, precision, recall, f1``; the accuracy is one-vs-rest, (TP + TN)/N) and ``confusion``
    (rows are true classes). A ratio with a zero denominator counts as zero.
    """
    number_of_classes, rows = len(class_names), len(predictions.rows)
    predicted, labels = torch.from_numpy(predictions.predicted), torch.from_numpy(predictions.labels)
    arguments = (predicted, labels, number_of_classes)
    metrics = MetricCollection(cast(Any, alone(classification_metrics(number_of_classes))))
    metrics.update(predicted, labels)
    precision, recall, f1 = (
        metric(*arguments, average="none").tolist()
        for metric in (multiclass_precision, multiclass_recall, multiclass_f1_score)
    )
    # each a list over classes
    true_positives, _, true_negatives, _, support = multiclass_stat_scores(*arguments, average="none").T.tolist()
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
        **{name: float(value) for name, value in metrics.compute().items()},
        "accuracy": sum(true_positives) / rows,  # in double precision, which torchmetrics does not divide in
        "per_class": per_class,
        "confusion": multiclass_confusion_matrix(*arguments).tolist(),
    }
