"""What a run leaves beside its record: predictions, and the final metrics in TensorBoard's HPARAMS tab."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from torch.utils.tensorboard.summary import hparams

from experiments.runs.predictions import PREDICTIONS_FILE
from experiments.runs.record import Record
from lightning_modules.training.evaluation import Predictions

SHOWN = ("layers", "learning_rate")
"""Settings of the model that the HPARAMS tab shows; TensorBoard ticks only the first few columns."""
SHOWN_SCORES = ("test_macro_f1", "validation_macro_f1", "test_accuracy", "validation_accuracy")
SCORES_GROUP = "with_best_weights"
"""Group of the final scores among the curves: its name comes after all others, so that it stands below them."""


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

    Every run names the same columns, scores or not: TensorBoard takes them from the first run that it finds, and
    Lightning's own ``log_hyperparams`` writes nothing for a run without scores, such as one that diverged. The complete
    configuration is in ``config.yaml``.
    """
    settings = {
        "condition": record.condition,
        **{name: record.config_as_built["model"][name] for name in SHOWN},
        "outcome": record.outcome.status,
        "seed": record.seed,
        "stage": record.stage,
    }
    columns = {}
    for name in SHOWN_SCORES:
        split, metric = name.split("_", 1)
        columns[f"{SCORES_GROUP}/{name}"] = record.score(split, metric)
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            present = {name: value for name, value in columns.items() if value is not None}
            logger.log_metrics(present, record.progress["steps"])
            writer = logger.experiment._get_file_writer()  # the public ``add_hparams`` makes a run of its own
            for summary in hparams(settings, columns):
                writer.add_summary(summary)
            logger.finalize("success")
