"""The end of a run: score the chosen and the last weights, judge them, and leave record, predictions and timing."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from torch.utils.tensorboard.summary import hparams

from data_modules.tokens.encoding import TOKENIZER_FILE
from experiments.planning.runs import Run
from experiments.runs.canonical import finite_or_none, five_digits
from experiments.runs.parents import Parent, weights_digest
from experiments.runs.predictions import answers_digest
from experiments.runs.provenance import environment
from experiments.runs.record import Outcome, Record, Scores
from experiments.runs.run_folder import PREDICTIONS_FILE, left_files, write_atomically, write_record
from experiments.runs.timings import TIMING_FILE
from experiments.runs.training import find
from experiments.tasks import TaskSpec, task_named
from lightning_modules.network.counting import count
from lightning_modules.tasks.base import Evaluation, TaskModule
from lightning_modules.training.callbacks.divergence import DivergenceGuard
from lightning_modules.training.callbacks.history import History
from lightning_modules.training.callbacks.throughput import Throughput

Timing = Mapping[str, float | None]
SHOWN = ("layers", "learning_rate")
"""Settings of the model that the HPARAMS tab shows; TensorBoard ticks only the first few columns."""
SCORES_GROUP = "with_best_weights"
"""Group of the final scores among the curves: its name comes after all others, so that it is shown below them."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What training leaves in addition to the last weights."""

    steps: int
    """Optimiser steps taken."""
    epochs: int
    """Epochs completed."""
    tokens: int
    """Real tokens trained on."""
    history: dict[str, Any]
    """Curves, as a record holds them; a value of the step that diverged may not be finite."""
    device: str
    """Kind of device, with the model of a GPU."""
    divergence: Outcome | None = None
    """The outcome if a loss or gradient was not finite."""
    checkpoint: Path | None = None
    """The checkpoint that validation chose, if one was written."""


@dataclass(frozen=True, kw_only=True)
class Concluded:
    """What a run leaves behind."""

    record: Record
    predictions: Any = None
    """Of the chosen weights on the test split (final runs) or the validation split (tune runs); None if the run could
    not be scored or its task keeps no answers."""
    groups: list[str] | None = None
    """Group of every predicted row, if the corpus has groups."""


def close_run(
    run: Run,
    folder: Path,
    trainer: Trainer,
    module: TaskModule,
    data: Any,
    timing: Callable[[], Timing],
    parent: Parent | None = None,
) -> Record:
    """Score a fitted model and leave timing, predictions and, last, the record in the run's folder.

    ``timing`` is called once the scores are there, and adds to the speed of the training.
    """
    concluded = conclude(run, ending_of(trainer, run), module, data)
    if parent is not None:
        concluded.record.parent = parent.as_record()
    log_hyperparameters(trainer.loggers, concluded.record)
    if "tokenizer" in task_named(run.config.task).parts or module.start is not None:
        data.encoded.tokenizer.save(folder / TOKENIZER_FILE)
    leave(folder, run, concluded, {**speed(trainer), **timing()})
    return concluded.record


def ending_of(trainer: Trainer, run: Run) -> Ending:
    """How a fit ended."""
    guard: DivergenceGuard = find(trainer, DivergenceGuard)
    history: History = find(trainer, History)
    steps, device = trainer.global_step, trainer.strategy.root_device
    diverged = Outcome(status="diverged", step=guard.step or steps, reason=guard.reason) if guard.has_diverged else None
    steps_per_epoch = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
    return Ending(
        steps=steps,
        epochs=min(trainer.current_epoch, steps // steps_per_epoch),  # Lightning counts one that a budget cut short
        tokens=history.tokens,
        history=history.as_record(trainer),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        divergence=diverged,
        checkpoint=best_checkpoint(trainer, task_named(run.config.task)),
    )


def best_checkpoint(trainer: Trainer, task: TaskSpec) -> Path | None:
    """The checkpoint that the task's primary metric chose on validation, if one was written."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor == task.monitor and callback.best_model_path:
            return Path(callback.best_model_path)
    return None


def speed(trainer: Trainer) -> dict[str, float]:
    """How long training took and how fast it was."""
    throughput: Throughput = find(trainer, Throughput)
    return {"training_seconds": throughput.seconds, "tokens_per_second": throughput.tokens_per_second}


def conclude(run: Run, ending: Ending, module: TaskModule, data: Any) -> Concluded:
    """Score a trained run and make its record.

    A final run reads the test split here, once: one pass for the chosen and one for the last checkpoint, or a single
    pass if they are the same.
    """
    steps, is_final = ending.steps, run.stage == "final"
    progress: dict[str, Any] = {"steps": steps, "epochs": ending.epochs, "tokens_seen": ending.tokens}
    progress |= {"best_step": None, "best_epoch": None}
    if ending.divergence is not None:
        return Concluded(record=make_record(run, ending, module, data, progress, ending.divergence))
    last = evaluated(module, data, ("train", "validation"))
    spoilt = not_finite(last)
    if spoilt:
        outcome = Outcome(status="diverged", step=steps, reason=f"{spoilt} after step {steps}, the last one.")
        return Concluded(record=make_record(run, ending, module, data, progress, outcome))
    nothing_learned = task_named(run.config.task).load("collapse")(last, data.facts)
    outcome = Outcome(status="collapsed" if nothing_learned else "trained", step=steps, reason=nothing_learned)
    if is_final:
        last |= evaluated(module, data, ("test",))
    chosen = last
    if ending.checkpoint is not None:
        saved = torch.load(ending.checkpoint, map_location="cpu", weights_only=True)
        progress |= {"best_step": saved["global_step"], "best_epoch": saved["epoch"] + 1}
        if saved["global_step"] != steps:
            module.load_state_dict(saved["state_dict"])
            chosen = evaluated(module, data, tuple(last))
    spoilt = not_finite(chosen | {"last test": last["test"]} if is_final else chosen)
    if spoilt:  # where train and validation rows had a finite loss
        outcome = Outcome(status="diverged", step=steps, reason=f"{spoilt} with the chosen or the last weights.")
        return Concluded(record=make_record(run, ending, module, data, progress, outcome))
    record = make_record(run, ending, module, data, progress, outcome)
    record.model["weights_sha256"] = weights_digest(module.network.state_dict())  # of the chosen weights
    task = task_named(run.config.task)
    record.scores = {split: scores_of(evaluation, task) for split, evaluation in chosen.items()}
    if is_final:
        record.scores["test_last"] = scores_of(last["test"], task)
    predicted = "test" if is_final else "validation"
    predictions = chosen[predicted].predictions
    return Concluded(record=record, predictions=predictions, groups=groups_of(data, predicted, predictions))


def evaluated(module: TaskModule, data: Any, splits: tuple[str, ...]) -> dict[str, Evaluation]:
    """Evaluate the module's present weights on splits of a data module; ``train`` is its fixed sample of rows."""
    loaders = {
        "train": data.train_sample_dataloader,
        "validation": data.val_dataloader,
        "test": data.test_dataloader,
    }
    return {split: module.evaluate(loaders[split]()) for split in splits}


def not_finite(evaluations: dict[str, Evaluation]) -> str:
    """Say which loss is not finite, as the beginning of a sentence; nothing if all are.

    The last step can spoil weights although its own loss and gradient were finite.
    """
    for split, evaluation in evaluations.items():
        if not math.isfinite(evaluation.metrics["loss"]):
            return f"The {split} loss became {evaluation.metrics['loss']}"
    return ""


def scores_of(evaluation: Evaluation, task: TaskSpec) -> Scores:
    """An evaluation in the shape of a record, with the metrics that its details give."""
    return Scores(metrics=task.completed(evaluation.metrics, evaluation.details), details=evaluation.details)


def groups_of(data: Any, split: str, predictions: Any) -> list[str] | None:
    """Group of every predicted row; None if the corpus has no groups or nothing was predicted."""
    groups = None if predictions is None else data.groups(split)
    return None if groups is None else [groups[int(row)] for row in predictions.rows]


def make_record(
    run: Run, ending: Ending, module: TaskModule, data: Any, progress: dict[str, Any], outcome: Outcome
) -> Record:
    """Make the record of a run, without scores."""
    size = count(module.network, data.facts.max_length)
    config = run.config
    return Record(
        **run.record_fields(),
        data=describe_data(data),
        model={
            "parameters": size.parameters,
            "norms": size.norms,
            "skips": size.skips,
            "flops_per_token": size.flops_per_token,
            **({} if module.words is None else {"word_vectors_found": len(module.words.ids)}),
            **pretrained_facts(module),
        },
        environment=environment(device=ending.device, precision=config.trainer.precision, threads=config.threads),
        progress=progress,
        history=finite_or_none(five_digits(ending.history)),  # the step that diverged may have been kept
        outcome=outcome,
    )


def pretrained_facts(module: TaskModule) -> dict[str, Any]:
    """What a record says of a network that was trained elsewhere; nothing of a run that starts from none."""
    if module.start is None or module.taken is None or not module.start.origin:
        return {}
    sizes = {"taken": module.taken.taken, "fresh": len(module.taken.fresh), "left_out": len(module.taken.left_out)}
    return {"pretrained": {**module.start.origin, **sizes}}


def describe_data(data: Any) -> dict[str, Any]:
    """What a record says about the text."""
    return describe_corpus(data.corpus) | {"vocabulary_size": data.facts.vocabulary_size, **data.sizes()}


def describe_corpus(corpus: Any) -> dict[str, Any]:
    """What a record says about the text before it is cut into tokens."""
    return {
        "slug": corpus.slug,
        "source": corpus.source,
        "fingerprint": corpus.fingerprint,
        "split_hash": corpus.split_hash,
        "rows": {name: len(rows) for name, rows in corpus.splits.items()},
        "removed": removed_rows(corpus.report),
        "classes": list(corpus.class_names),
    }


def removed_rows(report: dict[str, Any]) -> dict[str, int]:
    """How many training rows cleaning and the search for duplicates took away, by reason."""
    empty = report.get("cleaning", {}).get("train", {}).get("empty_rows_removed", 0)
    counts = {**report.get("duplicates", {}), **report.get("near_duplicates", {})}
    reasons = {name.removeprefix("train_"): count for name, count in counts.items() if name.startswith("train_")}
    return {"empty": empty, **reasons}


def log_hyperparameters(loggers: Iterable[Logger], record: Record) -> None:
    """Show settings that conditions differ in and the final scores in TensorBoard's HPARAMS tab.

    Every run names the same columns, with or without scores, because TensorBoard takes them from the first run that it
    finds. Lightning's own ``log_hyperparams`` writes nothing for a run without scores, such as one that diverged. The
    complete configuration is in ``config.yaml``.
    """
    settings = {
        "condition": record.condition,
        **{name: record.config_as_built["model"][name] for name in SHOWN},
        "outcome": record.outcome.status,
        "seed": record.seed,
        "stage": record.stage,
    }
    columns = {
        f"{SCORES_GROUP}/{split}_{metric.name}": record.score(split, metric.name)
        for metric in task_named(record.task).shown
        for split in ("test", "validation")
    }
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            present = {name: value for name, value in columns.items() if value is not None}
            logger.log_metrics(present, record.progress["steps"])
            writer = logger.experiment._get_file_writer()  # the public ``add_hparams`` makes a run of its own
            for summary in hparams(settings, columns):
                writer.add_summary(summary)
            logger.finalize("success")


def leave(folder: Path, run: Run, concluded: Concluded, timing: Timing) -> None:
    """Write timing, predictions and, last, the record. What could not be measured stays an empty cell."""
    row = {
        "stage": run.stage,
        "config_hash": concluded.record.config_hash,
        "device": concluded.record.environment["device"],
        **{name: "" if value is None else f"{value:.3f}" for name, value in timing.items()},
    }
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, row, lineterminator="\n")
    writer.writeheader()
    writer.writerow(row)
    write_atomically(folder / TIMING_FILE, text.getvalue().encode())
    if concluded.predictions is not None:
        rows, columns = concluded.predictions.rows, concluded.predictions.columns()
        group = [None] * len(rows) if concluded.groups is None else concluded.groups
        table = pd.DataFrame({"row": rows, "group": group, **columns}).astype({"group": "string"}).sort_values("row")
        write_atomically(folder / PREDICTIONS_FILE, table.to_parquet(index=False, compression="zstd"))
        concluded.record.answers = answers_digest(table)
    concluded.record.files = left_files(folder)
    write_record(folder, concluded.record)
