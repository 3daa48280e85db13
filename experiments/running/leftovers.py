"""What a run leaves beside its record: predictions, and the final metrics in TensorBoard's HPARAMS tab."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from lightning.pytorch.loggers import Logger, TensorBoardLogger

from experiments.records.predictions import PREDICTIONS_FILE
from experiments.records.record import METRICS, Record
from lightning_modules.evaluation import Predictions

SHOWN = ("layers", "learning_rate", "warmup_fraction", "initialisation_gain", "optimizer", "width")
"""Settings of the model that the HPARAMS tab shows."""


def write_predictions(folder: Path, predictions: Predictions, groups: list[str] | None) -> None:
    """Write one row per predicted row: ``row, group, label, predicted`` and ``probability_<class index>``."""
    probabilities = predictions.probabilities
    table = pd.DataFrame(
        {
            "row": predictions.rows,
            "group": groups if groups is not None else [None] * len(predictions.rows),
            "label": predictions.labels,
            "predicted": probabilities.argmax(axis=1),
            **{f"probability_{index}": probabilities[:, index] for index in range(probabilities.shape[1])},
        }
    )
    table.astype({"group": "string"}).sort_values("row").to_parquet(
        folder / PREDICTIONS_FILE, index=False, compression="zstd"
    )


def log_hyperparameters(loggers: Iterable[Logger], record: Record) -> None:
    """Show what conditions differ in beside the final metrics in TensorBoard's HPARAMS tab.

    TensorBoard shows the first few columns by name; the complete configuration is in ``config.yaml``.
    """
    model = record.config["model"]
    settings = {
        "condition": record.condition,
        **{name: model[name] for name in SHOWN},
        "outcome": record.outcome.status,
        "seed": record.seed,
        "stage": record.stage,
    }
    scores = {"validation": record.validation, "test": record.test}
    metrics = {
        f"outcome/{split}_{metric}": getattr(score, metric)
        for split, score in scores.items()
        if score is not None
        for metric in METRICS
    }
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(settings, metrics)
            logger.finalize("success")
