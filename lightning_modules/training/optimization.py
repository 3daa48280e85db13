"""Optimisers, weight-decay groups and the learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer, RMSprop
from torch.optim.lr_scheduler import LambdaLR

from lightning_modules.config import ModelConfig
from lightning_modules.network.backbone import Backbone

EPSILON = 1e-8
"""ε of Adam and AdamW, PyTorch's own."""


def parameter_groups(
    config: ModelConfig, module: nn.Module, rates: Mapping[int, float] | None = None
) -> list[dict[str, Any]]:
    """Group the parameters by rate, ε and decay; groups that decay come first.

    The weights of ``nn.Linear`` decay. Norms, biases, embeddings, gains and the residuals' own parameters do not. The
    recipes of a backbone below ``module`` multiply rate, ε and decay of single parameters. ε is Adam's. Frozen
    parameters are in no group. ``rates`` are further factors on the rate, by the ``id`` of a parameter.
    """
    decaying = {id(part.weight) for part in module.modules() if isinstance(part, nn.Linear)}
    backbones = [part for part in module.modules() if isinstance(part, Backbone)]
    rules = [(backbone, recipe) for backbone in backbones for recipe in backbone.recipes]
    groups: dict[tuple[float, ...], dict[str, Any]] = {}
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        values = {
            "lr": config.learning_rate * (rates or {}).get(id(parameter), 1.0),
            "eps": EPSILON,
            "weight_decay": config.weight_decay if id(parameter) in decaying else 0.0,
        }
        for backbone, recipe in rules:
            for key, factor in recipe.factors(name, parameter, backbone).items():
                values[key] *= factor
        if config.optimizer not in ("adam", "adamw"):
            del values["eps"]
        groups.setdefault(tuple(values.values()), {"params": [], **values})["params"].append(parameter)
    return sorted(groups.values(), key=lambda group: -group["weight_decay"])


def build_optimizer(config: ModelConfig, module: nn.Module, rates: Mapping[int, float] | None = None) -> Optimizer:
    """Build the configured optimiser over ``module``, a network or another that may hold a backbone.

    ``rates`` are factors on the rate by the ``id`` of a parameter. Weight decay is decoupled for ``adamw``
    (Loshchilov & Hutter 2017, arXiv:1711.05101) and an L2 penalty otherwise.
    """
    groups, rate = parameter_groups(config, module, rates), config.learning_rate
    betas = (config.beta1, config.beta2)
    match config.optimizer:
        case "sgd":
            return SGD(groups, lr=rate, fused=True)
        case "momentum":
            return SGD(groups, lr=rate, momentum=config.momentum, fused=True)
        case "adam":
            return Adam(groups, lr=rate, betas=betas, fused=True)
        case "adamw":
            return AdamW(groups, lr=rate, betas=betas, fused=True)
        case "rmsprop":
            return RMSprop(groups, lr=rate, momentum=config.momentum, foreach=True)


def learning_rate_factor(step: int, total_steps: int, warmup_fraction: float, decay: str) -> float:
    """Return the factor on the peak learning rate at ``step`` (0-based).

    With W = round(warmup_fraction·S) of S steps in all::

        (s + 1) / W                       s < W
        1                                 constant
        (S - s) / (S - W)                 linear
        (1 + cos(π·(s - W)/(S - W))) / 2  cosine

    So no step is spent at rate zero; zero is reached after the last step and kept.
    """
    warmup_steps = round(warmup_fraction * total_steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if decay == "constant":
        return 1.0
    left = max(0, total_steps - step) / max(1, total_steps - warmup_steps)
    return left if decay == "linear" else (1.0 - math.cos(math.pi * left)) / 2


def build_schedule(config: ModelConfig, optimizer: Optimizer, total_steps: int) -> LambdaLR:
    """Build the schedule over ``total_steps`` optimiser steps.

    It is a function of the step alone, so resuming is exact.
    """

    def factor(step: int) -> float:
        return learning_rate_factor(step, total_steps, config.warmup_fraction, config.decay)

    return LambdaLR(optimizer, factor)
