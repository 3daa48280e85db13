"""Stopping a run whose loss or gradient is no longer finite."""

from __future__ import annotations

import math
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_modules.tasks.base import TaskModule
from lightning_modules.training.processes import mean


class DivergenceGuard(Callback):
    """Stop training at the first step whose loss or gradient is not finite, and remember why.

    ``trainer.fit`` then returns as usual: without another validation, and without another checkpoint, since the
    weights are spoilt. Divergence is a result, not an error.

    Attributes:
        step: the step (1-based) that diverged, or None.
        reason: one sentence, empty while all is well.
    """

    def __init__(self) -> None:
        self.step: int | None = None
        self.reason = ""

    @property
    def has_diverged(self) -> bool:
        """Whether the run diverged."""
        return self.step is not None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at loss and gradient of the step that was just taken; all processes see the same and stop together."""
        assert isinstance(pl_module, TaskModule)
        loss = mean(trainer, outputs["loss"])
        norm = 0.0 if pl_module.gradient_norm is None else float(pl_module.gradient_norm)
        reason = divergence_reason(loss, norm, trainer.global_step)
        if not reason:
            return
        self.step, self.reason = trainer.global_step, reason
        trainer.should_stop = True
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint):
                callback.save_last = None  # which would otherwise be written when training ends
        raise StopIteration  # Lightning's own signal to leave the epoch, here before checkpoint callbacks run

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the fit loop before checkpoint callbacks see the end of this epoch."""
        if self.has_diverged:
            raise StopIteration

    def state_dict(self) -> dict[str, Any]:
        """Return step and reason."""
        return {"step": self.step, "reason": self.reason}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up step and reason."""
        self.step, self.reason = state_dict["step"], state_dict["reason"]


def divergence_reason(loss: float, norm: float, step: int) -> str:
    """Return which of loss and gradient norm is not finite, as a sentence; nothing if both are."""
    if math.isfinite(loss) and math.isfinite(norm):
        return ""
    what, value = ("loss", loss) if not math.isfinite(loss) else ("gradient norm", norm)
    return f"The {what} became {value} at step {step}."
