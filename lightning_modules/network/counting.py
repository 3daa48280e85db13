"""What a built network really has: parameters, norms, skips and arithmetic, counted from its modules."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lightning_modules.config import ModelConfig
from lightning_modules.network.heads import ClassificationHead
from lightning_modules.network.network import Network, build_network
from lightning_modules.network.sites import Norm
from lightning_modules.network.sublayer import Residual


@dataclass(frozen=True)
class Counts:
    """Size of a network."""

    parameters: int
    """Trainable scalars."""

    norms: int
    """Norm modules at all sites."""

    skips: int
    """Skip connections around sublayers."""

    flops_per_token: int
    """Floating-point operations of matrix products, forward and backward, per token of a row of the counted length."""


def count(network: Network, length: int) -> Counts:
    """Count ``network`` with rows of ``length`` tokens; its weights and gradients are left alone."""
    return Counts(
        parameters=parameters_in(network),
        norms=norms_in(network),
        skips=skips_in(network),
        flops_per_token=flops_per_token(network, length),
    )


def parameters_in(module: nn.Module) -> int:
    """Count the trainable scalars below ``module``, each once."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def norms_in(module: nn.Module) -> int:
    """Count the norms below ``module``."""
    return sum(isinstance(part, Norm) for part in module.modules())


def skips_in(module: nn.Module) -> int:
    """Count the skip connections around sublayers below ``module``."""
    return sum(part.skips for part in module.modules() if isinstance(part, Residual))


def count_configuration(
    config: ModelConfig,
    *,
    vocabulary_size: int,
    outputs: int,
    max_length: int,
    padding_id: int = 0,
    head: Callable[[ModelConfig, int], nn.Module] = ClassificationHead,
) -> Counts:
    """Count the network of ``config`` without allocating its weights, with rows of ``max_length`` tokens."""
    with torch.device("meta"):
        network = build_network(
            config,
            vocabulary_size=vocabulary_size,
            outputs=outputs,
            max_length=max_length,
            padding_id=padding_id,
            head=head,
        )
    return count(network, max_length)


def flops_per_token(network: Network, length: int) -> int:
    """Count the operations of one forward and backward pass over one row and divide them by its ``length`` tokens.

    Only matrix products and attention are counted, a multiply-add as two operations. The pass runs on the meta
    device: shapes only, no arithmetic.
    """
    shapes_only = copy.deepcopy(network).to("meta")
    input_ids = torch.zeros(1, length, dtype=torch.long, device="meta")
    attention_mask = torch.ones(1, length, dtype=torch.bool, device="meta")
    with FlopCounterMode(display=False) as counter:
        shapes_only(input_ids, attention_mask).sum().backward()
    return round(counter.get_total_flops() / length)
