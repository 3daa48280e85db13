"""One run in one folder: configuration first, record last."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer

from data_modules.labelled_text import TextDataModule
from experiments.errors import explained
from experiments.making.messages import Progress
from experiments.making.progress import ProgressReporter
from experiments.planning.runs import Run
from experiments.planning.saved_runs import CONFIG_FILE
from experiments.planning.yaml_files import write_yaml
from experiments.runs.conclude import Concluded, conclude
from experiments.runs.ending import ending_of
from experiments.runs.files import write_record
from experiments.runs.leftovers import log_hyperparameters, write_predictions
from experiments.runs.locks import UNSEEN, Mark, locked
from experiments.runs.memory import forget_peak_memory, peak_memory_mib
from experiments.runs.record import Record
from experiments.runs.run_folder import empty
from experiments.runs.tfidf import fit_tfidf
from experiments.runs.training import build_trainer, find, prepare_process, probing_callbacks
from lightning_modules.tasks.classification import TextClassifier
from lightning_modules.training.callbacks.throughput import Throughput

TIMING_FILE = "timing.csv"


def execute(
    run: Run, results: Path, send: Callable[[Progress], None] = lambda progress: None, seen: Mark = UNSEEN
) -> Record:
    """Make a run and return its record. What an interrupted attempt left in the folder is removed first.

    Args:
        run: which run.
        results: the folder of all results.
        send: gets the run's progress.
        seen: mark of the record that the run replaces.

    Raises:
        Busy: where another process is making this run, or has written a record since ``seen``.
        ExperimentError: where the folder cannot be written, or access to a file is refused.
    """
    folder = run.folder(results)
    with explained(folder), locked(folder, seen):
        empty(folder)
        write_yaml(folder / CONFIG_FILE, run.config.as_dict())
        started = time.perf_counter()
        is_measured = forget_peak_memory()
        concluded, timing = fit_tfidf(run) if run.baseline else train(run, folder, send)
        timing["seconds"] = time.perf_counter() - started
        timing["peak_memory_mib"] = peak_memory_mib() if is_measured else None
        leave(folder, run, concluded, timing)
        return concluded.record


def train(run: Run, folder: Path, send: Callable[[Progress], None]) -> tuple[Concluded, dict[str, Any]]:
    """Train the run's model and score it; return what it leaves behind and how fast it was."""
    prepare_process(run.config.threads)
    data = TextDataModule(**section(run.config.data))
    module = TextClassifier(**section(run.config.model))
    callbacks = [*probing_callbacks(run.config.probes), ProgressReporter(send)]
    trainer = build_trainer(asdict(run.config.trainer), folder, callbacks)
    trainer.fit(module, datamodule=data)
    concluded = conclude(run, ending_of(trainer), module, data)
    log_hyperparameters(trainer.loggers, concluded.record)
    return concluded, speed(trainer)


def speed(trainer: Trainer) -> dict[str, Any]:
    """Return how long training took and how fast it was."""
    throughput: Throughput = find(trainer, Throughput)
    return {"training_seconds": throughput.seconds, "tokens_per_second": throughput.tokens_per_second}


def section(config: Any) -> dict[str, Any]:
    """Return the fields of a configuration as keyword arguments, nested options as they are."""
    return {name: getattr(config, name) for name in config.__dataclass_fields__}


def leave(folder: Path, run: Run, concluded: Concluded, timing: dict[str, Any]) -> None:
    """Write timing, predictions and, last, the record. What could not be measured stays an empty cell."""
    row = {
        "stage": run.stage,
        "config_hash": concluded.record.config_hash,
        "device": concluded.record.environment["device"],
        **{name: "" if value is None else f"{value:.3f}" for name, value in timing.items()},
    }
    with (folder / TIMING_FILE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, row, lineterminator="\n")
        writer.writeheader()
        writer.writerow(row)
    if concluded.predictions is not None:
        write_predictions(folder, concluded.predictions, concluded.groups)
    write_record(folder, concluded.record)
