"""What a run leaves beside its record: predictions, and the final metrics in TensorBoard's HPARAMS tab."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from experiments.planning.names import flatten
from experiments.records.predictions import PREDICTIONS_FILE
from experiments.records.record import METRICS, Record
from lightning_modules.evaluation import Predictions


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


def log_hyperparameters(trainer: Trainer, record: Record) -> None:
    """Show the configuration beside the final metrics in TensorBoard's HPARAMS tab."""
    settings = {name: value for name, value in flatten(record.config) if isinstance(value, bool | int | float | str)}
    settings |= {"condition": record.condition, "seed": record.seed, "outcome": record.outcome.status}
    scores = {"validation": record.validation, "test": record.test}
    metrics = {
        f"final/{split}_{metric}": getattr(score, metric)
        for split, score in scores.items()
        if score is not None
        for metric in METRICS
    }
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(settings, metrics)
            logger.finalize("success")
