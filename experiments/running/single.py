"""One run outside a grid: ``experiments.train`` gives it a folder and a record as a grid would."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer

from data_modules.text import TextDataModule
from experiments.errors import ExperimentError
from experiments.planning.grid import UNLABELLED_OVERRIDES
from experiments.planning.names import flatten
from experiments.planning.run_config import RunConfig, TrainerConfig
from experiments.planning.runs import Run
from experiments.planning.saved_runs import CONFIG_FILE, run_config_of
from experiments.planning.yaml_files import write_yaml
from experiments.running.conclude import conclude
from experiments.running.execute import empty, leave, speed
from experiments.running.leftovers import log_hyperparameters
from lightning_modules.classifier import TextClassifier

STARTED = time.perf_counter()


def run_of(settings: dict[str, Any]) -> Run:
    """Return the run that a parsed command line describes; its cell names what differs from the defaults."""
    config = run_config_of(settings)
    return Run(
        grid=settings["name"],
        corpus=config.data.slug,
        condition=config.model.variant,
        stage=config.data.stage,
        seed=config.seed,
        config=config,
        swept=changed_values(config),
    )


def changed_values(config: RunConfig) -> dict[str, Any]:
    """Return the dotted names and values in which a configuration differs from the defaults."""
    defaults = dict(flatten(RunConfig(data=type(config.data)(), trainer=TrainerConfig()).as_dict()))
    ignored = UNLABELLED_OVERRIDES | {"seed_everything", "threads", "model.variant", "data.stage"}
    return {name: value for name, value in flatten(config.as_dict()) if name not in ignored and value != defaults[name]}


def folder_of(run: Run, settings: dict[str, Any], *, fresh: bool) -> Path:
    """Return the run's folder, made and, for a fit that resumes nothing, emptied.

    Raises:
        ExperimentError: where the folder cannot be written.
    """
    folder = run.folder(Path(settings["results"]))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if fresh:
            if not settings.get("ckpt_path"):
                empty(folder)
            write_yaml(folder / CONFIG_FILE, run.config.as_dict())
    except OSError as error:
        raise ExperimentError(f"{folder} cannot be written: {error.strerror or error}") from None
    return folder


def finish(run: Run, folder: Path, trainer: Trainer, module: TextClassifier, data: TextDataModule) -> None:
    """Score a fitted model, leave record, predictions and timing, and say where they are."""
    concluded = conclude(run, trainer, module, data)
    log_hyperparameters(trainer, concluded.record)
    leave(folder, run, concluded, speed(trainer) | {"seconds": time.perf_counter() - STARTED})
    record = concluded.record
    print(f"{record.outcome.status} after {record.outcome.step} steps. {record.outcome.reason}".rstrip())
    for split in ("validation", "test"):
        scores = getattr(record, split)
        if scores is not None:
            print(f"{split}: accuracy {scores.accuracy:.4f}, macro-F1 {scores.macro_f1:.4f}")
    print(f"run folder: {folder}")
