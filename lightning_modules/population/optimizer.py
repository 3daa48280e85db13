"""The optimisers of all members in one step: each with its learning rate, warm-up and weight decay."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_modules.config import ModelConfig
from lightning_modules.population.weights import StackedWeights
from lightning_modules.training.optimization import learning_rate_factor

EPSILON = 1e-8
"""PyTorch's default ε of Adam and AdamW."""


class PopulationOptimizer:
    """SGD, momentum, Adam or AdamW on the rows of :class:`StackedWeights`; step t with gradient g, rate η, decay λ::

        adamw     θ ← θ - η·λ·θ, then as adam without λ          Loshchilov & Hutter 2017, arXiv:1711.05101, algorithm 2
        adam      g ← g + λ·θ;  m ← β₁·m + (1 - β₁)·g;  v ← β₂·v + (1 - β₂)·g²
                  θ ← θ - η/(1 - β₁ᵗ) · m / (√v/√(1 - β₂ᵗ) + ε)   Kingma & Ba 2014, arXiv:1412.6980, section 2
        momentum  g ← g + λ·θ;  m ← μ·m + g;  θ ← θ - η·m         (sgd: μ = 0), as ``torch.optim.SGD``

    η and λ are each member's own; λ applies to the columns ``weights.decayed``.

    Args:
        configs: the members' configurations, alike in optimiser, β₁, β₂ and μ.
        weights: what is optimised.
        total_steps: optimiser steps that each member's schedule spans.
    """

    def __init__(self, configs: Sequence[ModelConfig], weights: StackedWeights, total_steps: Sequence[int]) -> None:
        self.config = configs[0]
        self.configs = configs
        self.weights = weights
        self.total_steps = total_steps
        self.steps = 0
        decay = weights.matrix.new_tensor([config.weight_decay for config in configs])
        self.decay = decay[:, None] * weights.decayed  # (M, P)
        self.first_moment = torch.zeros_like(weights.matrix)
        self.second_moment = torch.zeros_like(weights.matrix) if self.is_adaptive else None

    @property
    def is_adaptive(self) -> bool:
        """Whether the optimiser keeps a second moment."""
        return self.config.optimizer in ("adam", "adamw")

    def rates(self) -> list[float]:
        """Return the members' learning rates of the step that comes next."""
        return [
            config.learning_rate * learning_rate_factor(self.steps, total, config.warmup_fraction, config.decay)
            for config, total in zip(self.configs, self.total_steps, strict=True)
        ]

    @torch.no_grad()
    def step(self, active: Tensor) -> None:
        """Take one step with the gradient in ``weights``; rows that are not ``active`` ``(M,)`` stay as they are.

        The gradient is spoilt by it.
        """
        weights, gradient = self.weights.matrix, self.weights.gradient
        gradient.masked_fill_(~active[:, None], 0.0)
        rates = (weights.new_tensor(self.rates()) * active)[:, None]  # (M, 1)
        self.steps += 1
        if self.config.optimizer == "adamw":
            weights.mul_((rates * self.decay).neg_().add_(1.0))
        else:
            gradient.add_(self.decay * weights)
        if self.second_moment is None:
            weights.sub_(rates * self._momentum(gradient))
        else:
            weights.sub_(self._adam(gradient, self.second_moment).mul_(rates))

    def _momentum(self, gradient: Tensor) -> Tensor:
        momentum = self.config.momentum if self.config.optimizer == "momentum" else 0.0
        return self.first_moment.mul_(momentum).add_(gradient)

    def _adam(self, gradient: Tensor, second_moment: Tensor) -> Tensor:
        beta1, beta2 = self.config.beta1, self.config.beta2
        self.first_moment.lerp_(gradient, 1 - beta1)
        second_moment.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        root = second_moment.sqrt().div_((1 - beta2**self.steps) ** 0.5).add_(EPSILON)
        return torch.div(self.first_moment, root, out=root).div_(1 - beta1**self.steps)
