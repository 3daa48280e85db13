"""Gradient norms before clipping, in all and by depth."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from lightning_modules.classifier import TextClassifier


class GradientNorms(Callback):
    """Log the L2 norm of the gradient: ``gradient_norm/all``, ``/embedding``, ``/block_00`` and so on, ``/head``.

    Logged steps alone are measured. The first ones, and the very first step, are kept for the record: they show how
    the signal travels backwards through the untrained network.

    Args:
        kept: measurements to keep from the start of training.

    Attributes:
        steps: optimiser steps (1-based) of the kept measurements.
        blocks: per kept measurement the norms by depth: embedding first, head last.
    """

    def __init__(self, kept: int = 10) -> None:
        self.kept = kept
        self.steps: list[int] = []
        self.blocks: list[list[float]] = []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Measure the gradient before it is clipped."""
        assert isinstance(pl_module, TextClassifier)
        is_kept = len(self.steps) < self.kept and (pl_module.is_logged_step or trainer.global_step == 0)
        if not (pl_module.is_logged_step or is_kept):
            return
        norms = {
            part: torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
            for part, parameters in pl_module.network.parts().items()
        }
        if pl_module.is_logged_step:
            pl_module.log("gradient_norm/all", torch.stack(list(norms.values())).norm())
            pl_module.log_dict({f"gradient_norm/{part}": norm for part, norm in norms.items()})
        if is_kept:
            self.steps.append(trainer.global_step + 1)
            self.blocks.append([float(norm) for norm in norms.values()])

    def state_dict(self) -> dict[str, Any]:
        """Return what was kept."""
        return {"steps": list(self.steps), "blocks": [list(norms) for norms in self.blocks]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what was kept before the interruption."""
        self.steps, self.blocks = state_dict["steps"], state_dict["blocks"]
