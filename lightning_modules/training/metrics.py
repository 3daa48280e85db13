"""Epoch-level metrics, the same for every stage."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassF1Score,
    MulticlassMatthewsCorrCoef,
    MulticlassPrecision,
    MulticlassRecall,
)


def classification_metrics(number_of_classes: int) -> dict[str, Metric]:
    """Accuracy (the share of right rows), macro-averaged precision, recall and F1, and the Matthews correlation.

    States are summed over an epoch's rows, never averaged over batches. Macro averages leave out a class that is
    neither among labels nor among predictions, as scikit-learn does by default. The correlation is that of the
    confusion matrix (Matthews 1975; of K classes Gorodkin 2004, R_K). It is 0 if all labels or all predictions are one
    class. If all labels are one of two classes and so are all predictions, it is 1 for right answers and -1 for wrong
    ones.
    """
    settings: dict[str, Any] = {"num_classes": number_of_classes, "validate_args": False}
    return {
        "accuracy": MulticlassAccuracy(average="micro", **settings),
        "macro_precision": MulticlassPrecision(average="macro", **settings),
        "macro_recall": MulticlassRecall(average="macro", **settings),
        "macro_f1": MulticlassF1Score(average="macro", **settings),
        "matthews": MulticlassMatthewsCorrCoef(**settings),
    }


def alone(metrics: dict[str, Metric]) -> dict[str, Metric]:
    """Let metrics count this process's rows only; after joint training one process scores all rows."""
    for metric in metrics.values():
        metric.distributed_available_fn = lambda: False
    return metrics


class MeanLoss(Metric):
    """Mean of a loss over an epoch's rows, those of all processes together; it may be infinite or NaN.

    If two processes share an odd number of rows, Lightning's mean of logged numbers rounds the half to a whole number.
    If torchmetrics' ``MeanMetric`` lets a value pass that is not finite, it forgets the number of rows.
    """

    full_state_update = False
    total: Tensor
    rows: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("total", "rows"):
            self.add_state(name, torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, loss: Tensor, rows: int) -> None:
        """Add the mean loss of a batch and its number of rows."""
        self.total += loss * rows
        self.rows += rows

    def compute(self) -> Tensor:
        """Return the mean over rows."""
        return self.total / self.rows
