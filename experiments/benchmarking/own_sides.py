"""Our two sides: a run as every grid makes it, and the same network in a bare loop."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path

from lightning.pytorch import seed_everything

from experiments.benchmarking.bare_loop import train_in_a_bare_loop
from experiments.benchmarking.task import Task, Timing
from experiments.making.progress import ProgressReporter
from experiments.runs.execute import section, speed
from experiments.runs.training import build_trainer
from lightning_modules.tasks.classification import TextClassifier


def train_with_lightning(task: Task) -> Timing:
    """Train as every run of a grid does: loggers, curves, gradient norms, divergence guard, checkpoint.

    The seconds are those of the callback that times every run. One batch of validation follows the last step, because
    the checkpoint needs a score; neither is counted.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = asdict(task.config.trainer) | {"limit_val_batches": 1}
        trainer = build_trainer(settings, Path(folder), [ProgressReporter(lambda progress: None)])
        module = TextClassifier(**section(task.config.model))
        seed_everything(task.config.seed, verbose=False)
        trainer.fit(module, datamodule=task.data)
        measured = speed(trainer)
    work = task.work()
    return Timing(
        seconds=measured["training_seconds"],
        rows=work.rows,
        tokens=round(measured["tokens_per_second"] * measured["training_seconds"]),
        positions=work.positions,
        steps=trainer.global_step,
        parameters={name: value.detach() for name, value in module.network.named_parameters()},
    )


def train_with_a_plain_loop(task: Task) -> Timing:
    """Train the same network in the bare loop, in the configured precision."""
    return train_in_a_bare_loop(task, task.network(), task.config.trainer.precision)
