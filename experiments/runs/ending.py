"""How training ended, whoever trained: what scoring a run and its record start from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from experiments.runs.record import Outcome
from experiments.runs.training import CHOSEN_BY, find
from lightning_modules.training.callbacks.divergence import DivergenceGuard
from lightning_modules.training.callbacks.history import History


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What training leaves besides the last weights."""

    steps: int
    """Optimiser steps taken."""
    epochs: int
    """Epochs completed."""
    tokens: int
    """Real tokens trained on."""
    history: dict[str, Any]
    """Curves, as a record holds them; a value of the step that diverged may not be finite."""
    device: str
    """Kind of device, with the model where it is a GPU."""
    divergence: Outcome | None = None
    """The outcome where a loss or gradient was not finite."""
    checkpoint: Path | None = None
    """The checkpoint that validation chose, if one was written."""


def ending_of(trainer: Trainer) -> Ending:
    """Return how a fit ended."""
    guard: DivergenceGuard = find(trainer, DivergenceGuard)
    history: History = find(trainer, History)
    steps = trainer.global_step
    diverged = Outcome(status="diverged", step=guard.step or steps, reason=guard.reason) if guard.has_diverged else None
    return Ending(
        steps=steps,
        epochs=trainer.current_epoch,
        tokens=history.tokens,
        history=history.as_record(trainer),
        device=device_name(trainer.strategy.root_device),
        divergence=diverged,
        checkpoint=best_checkpoint(trainer),
    )


def best_checkpoint(trainer: Trainer) -> Path | None:
    """Return the checkpoint that validation chose, if one was written."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor == CHOSEN_BY and callback.best_model_path:
            return Path(callback.best_model_path)
    return None


def device_name(device: torch.device) -> str:
    """Return the kind of device, with the model where it is a GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
