"""Gradient norms before clipping, in all and by depth."""

from __future__ import annotations

import math
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from lightning_modules.tasks.base import TaskModule
from lightning_modules.training.processes import gradient_norm


class GradientNorms(Callback):
    """Log the L2 norm of the gradient: ``gradient_norm/all``, ``/embedding``, ``/block_00`` and so on, ``/head``.

    The very first step and logged steps are measured: the first one shows how the signal travels backwards through the
    untrained network, the others what training does to it. For the record at most ``kept`` of them stay, evenly spread:
    whenever there are more, every other one is dropped and only every other one is taken from then on.

    Args:
        kept: most measurements to keep of a run's course.

    Attributes:
        steps: optimiser steps (1-based) of the kept measurements.
        blocks: per kept measurement the norms by depth: embedding first, head last.
    """

    def __init__(self, kept: int = 60) -> None:
        self.kept = kept
        self.measured = 0
        self.stride = 1
        self.steps: list[int] = []
        self.blocks: list[list[float]] = []

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Measure the gradient before it is clipped."""
        assert isinstance(pl_module, TaskModule)
        if not (pl_module.is_logged_step or trainer.global_step == 0):
            return
        norms = {part: gradient_norm(parameters) for part, parameters in pl_module.network.parts().items()}
        values = {part: float(norm) for part, norm in norms.items()}
        if pl_module.is_logged_step:
            curves = {"gradient_norm/all": math.hypot(*values.values())}
            curves |= {f"gradient_norm/{part}": value for part, value in values.items()}
            for logger in trainer.loggers:  # straight to them: `pl_module.log` costs a third of a millisecond a value
                logger.log_metrics(curves, trainer.global_step)
        self.keep(trainer.global_step + 1, list(values.values()))

    def keep(self, step: int, norms: list[float]) -> None:
        """Keep a measurement if its number is a multiple of the stride, which doubles whenever there are too many."""
        if self.measured % self.stride == 0:
            self.steps.append(step)
            self.blocks.append(norms)
        self.measured += 1
        if len(self.steps) > self.kept:
            self.steps, self.blocks, self.stride = self.steps[::2], self.blocks[::2], 2 * self.stride

    def state_dict(self) -> dict[str, Any]:
        """Return what was kept and how far it is thinned."""
        return {
            "steps": list(self.steps),
            "blocks": [list(norms) for norms in self.blocks],
            "measured": self.measured,
            "stride": self.stride,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what was kept before the interruption."""
        self.steps, self.blocks = state_dict["steps"], state_dict["blocks"]
        self.measured, self.stride = state_dict.get("measured", len(self.steps)), state_dict.get("stride", 1)
