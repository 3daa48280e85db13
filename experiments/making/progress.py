"""The callback that tells how far a run has come while it trains."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from experiments.making.messages import Progress

INTERVAL = 0.5
"""Seconds between two messages."""


class ProgressReporter(Callback):
    """Send :class:`Progress` about twice a second."""

    def __init__(self, send: Callable[[Progress], None]) -> None:
        self.send = send
        self.last = 0.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Send a message when the last one is old enough."""
        now = time.monotonic()
        if now - self.last < INTERVAL:
            return
        self.last = now
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        steps = int(trainer.num_training_batches) * (trainer.max_epochs or 1)
        self.send(Progress(trainer.current_epoch + 1, trainer.global_step, steps, float(loss)))
