"""The callback that tells how far a run has come while it trains."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from experiments.making.messages import Progress
from lightning_modules.training.callbacks.attached import steps_of_fit

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
        steps = steps_of_fit(trainer, pl_module)
        self.send(
            Progress(
                trainer.current_epoch + 1, trainer.global_step, 0 if steps == math.inf else int(steps), float(loss)
            )
        )
