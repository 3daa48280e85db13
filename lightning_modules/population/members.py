"""What training leaves of each member of a population."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lightning_modules.config import ModelConfig
from lightning_modules.training.callbacks.divergence import divergence_reason
from lightning_modules.training.callbacks.gradient_norms import GradientNorms
from lightning_modules.training.callbacks.history import History


@dataclass(frozen=True)
class Snapshot:
    """Weights of a member at a validation."""

    weights: dict[str, Tensor]
    """Parameters of the network by name."""
    step: int
    """Optimiser steps taken by then."""
    epoch: int
    """Number of the epoch, counted from 0."""
    macro_f1: float
    """Validation macro-F1."""


@dataclass
class Member:
    """One member's curves, weights and end: what its solo run would have kept."""

    config: ModelConfig
    history: History = field(default_factory=History)
    gradient_norms: GradientNorms = field(default_factory=GradientNorms)
    best: Snapshot | None = None
    """The validation with the highest macro-F1, the first of equals; none where it diverged before any."""
    last: dict[str, Tensor] = field(default_factory=dict)
    """The weights after the last step; those before the step that diverged."""
    steps: int = 0
    """Optimiser steps taken, the one that diverged included."""
    epochs: int = 0
    """Epochs completed."""
    reason: str = ""
    """One sentence where the member diverged, at step ``steps``; empty otherwise."""

    @property
    def has_diverged(self) -> bool:
        """Whether a loss or gradient was not finite."""
        return bool(self.reason)

    def curves(self) -> dict[str, Any]:
        """Return the ``history`` of a record."""
        return self.history.beside([self.gradient_norms])


class DivergenceWatch:
    """Which members still train, kept on the device: looking at it there makes no step wait for the host.

    Attributes:
        active: ``(M,)`` bool; false from the first step on whose loss or gradient norm is not finite.
        losses: ``(M,)``, the loss of the latest step at which the member was active.
        norms: ``(M,)``, likewise the gradient norm.
        steps: ``(M,)``, likewise its number, counted from 1.
        tokens: ``(M,)``, real tokens of all steps up to then, the one that diverged left out.
    """

    def __init__(self, members: int, device: torch.device) -> None:
        self.active = torch.ones(members, dtype=torch.bool, device=device)
        self.losses, self.norms = torch.zeros((2, members), device=device)
        self.steps, self.tokens = torch.zeros((2, members), dtype=torch.int64, device=device)

    def observe(self, step: int, losses: Tensor, norms: Tensor, tokens: Tensor) -> None:
        """Look at losses, gradient norms and real tokens ``(M,)`` of a step before it is taken."""
        self.losses = torch.where(self.active, losses, self.losses)
        self.norms = torch.where(self.active, norms, self.norms)
        self.steps = torch.where(self.active, step, self.steps)
        self.active = self.active & losses.isfinite() & norms.isfinite()
        self.tokens = self.tokens + tokens * self.active

    def reasons(self) -> list[str]:
        """Return one sentence for each member that diverged, and nothing for the others."""
        values = zip(self.losses.tolist(), self.norms.tolist(), self.steps.tolist(), strict=True)
        return [divergence_reason(loss, norm, step) for loss, norm, step in values]
