"""One run outside a grid: ``experiments.train`` gives it a folder and a record as a grid would."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer

from data_modules.labelled_text import TextDataModule
from experiments.errors import ExperimentError, explained
from experiments.planning.grid import UNLABELLED_OVERRIDES
from experiments.planning.names import flatten
from experiments.planning.run_config import RunConfig, TrainerConfig
from experiments.planning.runs import Run
from experiments.planning.saved_runs import CONFIG_FILE, run_config_of
from experiments.planning.yaml_files import write_yaml
from experiments.runs.conclude import conclude
from experiments.runs.ending import ending_of
from experiments.runs.errors import RecordError
from experiments.runs.execute import leave, speed
from experiments.runs.files import RECORD_FILE, read_record
from experiments.runs.finished import refuse_other_records
from experiments.runs.leftovers import log_hyperparameters
from experiments.runs.locks import Busy, locked
from experiments.runs.memory import peak_memory_mib
from experiments.runs.run_folder import empty
from experiments.runs.training import FIXED_FLAGS
from lightning_modules.tasks.classification import TextClassifier

STARTED = time.perf_counter()
DISPLAY_FLAGS = {"enable_progress_bar", "profiler"}
"""Flags of Lightning's ``Trainer`` that decide no number."""


def run_of(settings: dict[str, Any]) -> Run:
    """Return the run that a parsed command line describes; its cell names what differs from the defaults.

    Raises:
        ExperimentError: where it sets a flag of the trainer that all runs have in common.
    """
    config = replace(run_config_of(settings), trainer_flags=other_flags(settings["trainer"]))
    return Run(
        grid=settings["name"],
        corpus=config.data.slug,
        condition=config.model.variant,
        stage=config.data.stage,
        seed=config.seed,
        config=config,
        swept=changed_values(config),
    )


def other_flags(trainer: dict[str, Any]) -> dict[str, Any]:
    """Return the flags that a grid does not know and that differ from Lightning's defaults: they decide numbers too.

    Raises:
        ExperimentError: for a flag that all runs have in common.
    """
    usual = {name: parameter.default for name, parameter in inspect.signature(Trainer.__init__).parameters.items()}
    known = {entry.name for entry in fields(TrainerConfig)}
    given = {
        name: value
        for name, value in trainer.items()
        if name not in known | DISPLAY_FLAGS and value is not None and value != usual.get(name)
    }
    for name in sorted(FIXED_FLAGS & given.keys()):
        raise ExperimentError(f"trainer.{name} is the same in all runs and cannot be set")
    return given


def changed_values(config: RunConfig) -> dict[str, Any]:
    """Return the dotted names and values, of those that decide numbers, in which a configuration is not the default."""
    defaults = dict(flatten(RunConfig(data=type(config.data)(), trainer=TrainerConfig()).as_dict()))
    ignored = UNLABELLED_OVERRIDES | {"seed_everything", "threads", "model.variant", "data.stage"}
    return {
        name: value
        for name, value in flatten(config.as_dict())
        if name not in ignored and not name.startswith("probes.") and (name not in defaults or value != defaults[name])
    }


@contextmanager
def occupied(folder: Path) -> Iterator[None]:
    """Hold a run's folder, made where it is missing.

    Raises:
        ExperimentError: where it cannot be written or another process is training in it.
    """
    try:
        with explained(folder), locked(folder):
            yield
    except Busy:
        raise ExperimentError(f"another process is training in {folder}") from None


def prepare_folder(run: Run, folder: Path, fingerprint: str, *, resumes: bool) -> None:
    """Remove what an earlier fit left, all of it or, where this one goes on from there, its record alone.

    Raises:
        ExperimentError: where it was a fit on another text, whose fingerprint is not ``fingerprint``.
    """
    with suppress(RecordError):  # none there, or a damaged one
        refuse_other_records(folder, [read_record(folder)], fingerprint)
    if resumes:
        (folder / RECORD_FILE).unlink(missing_ok=True)
    else:
        empty(folder)
    write_yaml(folder / CONFIG_FILE, run.config.as_dict())


def finish(run: Run, folder: Path, trainer: Trainer, module: TextClassifier, data: TextDataModule) -> None:
    """Score a fitted model, leave record, predictions and timing, and say where they are."""
    concluded = conclude(run, ending_of(trainer), module, data)
    log_hyperparameters(trainer.loggers, concluded.record)
    seconds = time.perf_counter() - STARTED
    # This process makes one run only, so its peak is the run's.
    leave(folder, run, concluded, speed(trainer) | {"seconds": seconds, "peak_memory_mib": peak_memory_mib()})
    record = concluded.record
    print(f"{record.outcome.status} after {record.outcome.step} steps. {record.outcome.reason}".rstrip())
    for split in ("validation", "test"):
        scores = getattr(record, split)
        if scores is not None:
            print(f"{split}: accuracy {scores.metrics['accuracy']:.4f}, macro-F1 {scores.metrics['macro_f1']:.4f}")
    print(f"run folder: {folder}")
