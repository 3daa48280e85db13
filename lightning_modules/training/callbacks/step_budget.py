"""Training for a number of optimiser steps."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_modules.tasks.base import TaskModule


class StepBudget(Callback):
    """End training after ``steps`` optimiser steps, with a validation of the last weights; the schedule is as long.

    It replaces ``trainer.max_steps``. With that, Lightning 2.6 ends without that validation. From a checkpoint of an
    epoch's end, it also goes on one epoch too far, and so with other batches. The trainer needs ``max_epochs=-1``.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Tell the task, whose schedule is built next."""
        assert isinstance(pl_module, TaskModule)
        pl_module.step_budget = self.steps

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Ask for the end; Lightning validates before it."""
        if trainer.global_step >= self.steps:
            trainer.should_stop = True
