"""What callbacks ask of a trainer."""

from __future__ import annotations

import math
from typing import Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_modules.tasks.base import TaskModule


def callbacks_of(trainer: Trainer) -> list[Callback]:
    """Return a trainer's callbacks, which a connector of Lightning sets without declaring them."""
    callbacks: list[Callback] = cast(Any, trainer).callbacks
    return callbacks


def steps_of_fit(trainer: Trainer, module: LightningModule) -> float:
    """Optimiser steps after which a fit ends; infinite if it has no end."""
    budget = cast(TaskModule, module).step_budget
    return min(trainer.estimated_stepping_batches, math.inf if budget is None else budget)
