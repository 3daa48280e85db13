"""Epoch-level metrics, the same for every stage."""

from __future__ import annotations

from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score, MulticlassPrecision, MulticlassRecall


def build_metrics(number_of_classes: int, prefix: str) -> MetricCollection:
    """Build accuracy (the share of right rows) and macro-averaged precision, recall and F1, named ``prefix``/....

    States are summed over an epoch's rows, never averaged over batches. A class that stands neither among labels nor
    among predictions is left out of macro averages, as scikit-learn does by default.
    """
    settings = {"num_classes": number_of_classes, "validate_args": False}
    return MetricCollection(
        {
            "accuracy": MulticlassAccuracy(average="micro", **settings),
            "macro_precision": MulticlassPrecision(average="macro", **settings),
            "macro_recall": MulticlassRecall(average="macro", **settings),
            "macro_f1": MulticlassF1Score(average="macro", **settings),
        },
        prefix=f"{prefix}/",
    )


def build_mean_loss() -> MeanMetric:
    """Build the mean of a loss over an epoch's rows, those of all processes together; a loss may not be finite.

    Lightning's own mean of logged numbers halves an odd number of rows to a whole one where two processes share them.
    """
    return MeanMetric(nan_strategy="disable")
