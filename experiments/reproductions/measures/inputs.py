"""What every measurement feeds its networks: tokens by Zipf's law, vectors by the normal law, networks of a start."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from experiments.reproductions.setups import NetworkSetup, Start
from lightning_modules.config import ModelConfig, Positions
from lightning_modules.network.context import Context
from lightning_modules.network.heads import ClassificationHead
from lightning_modules.network.network import Network, build_network

INPUTS = 1_000_003
"""Distance between the seed of the weights and that of the tokens, so that the two draws share nothing."""


def input_generator(seed: int) -> torch.Generator:
    """Return the generator of the inputs that belong to a seed."""
    return torch.Generator().manual_seed(seed + INPUTS)


def zipf_tokens(vocabulary: int, rows: int, length: int, generator: torch.Generator) -> Tensor:
    """Draw tokens 1 … V - 1 with probability proportional to 1/token (Zipf's law), ``(rows, length)``."""
    weights = 1 / torch.arange(1, vocabulary, dtype=torch.float64)
    return 1 + torch.multinomial(weights, rows * length, replacement=True, generator=generator).view(rows, length)


def normal_stream(rows: int, length: int, width: int, generator: torch.Generator) -> Tensor:
    """Draw a stream of independent standard normal features, ``(rows, length, width)``, float64."""
    return torch.randn(rows, length, width, generator=generator, dtype=torch.float64)


def all_real(inputs: Tensor) -> Context:
    """Return the context of inputs ``(B, T)`` or ``(B, T, D)`` without padding."""
    return Context(torch.ones(inputs.shape[:2], dtype=torch.bool))


def model_config(start: Start, variant: str, layers: int, seed: int, positions: Positions = "none") -> ModelConfig:
    """Return the configuration of an undropped network."""
    return ModelConfig(
        variant=variant,
        layers=layers,
        width=start.width,
        heads=start.heads,
        initialisation=start.initialisation,
        positions=positions,
        dropout=0.0,
        seed=seed,
    )


def network(setup: NetworkSetup, start: Start, variant: str, layers: int, seed: int) -> Network:
    """Build a network with as many classes as tokens, float32, in evaluation mode."""
    return build_network(
        model_config(start, variant, layers, seed, setup.positions),
        vocabulary_size=setup.vocabulary,
        outputs=setup.vocabulary,
        max_length=setup.length,
        padding_id=0,
    ).eval()


def token_logits(network: Network, x: Tensor) -> Tensor:
    """Return the head's logits at every token of the blocks' output ``x`` ``(B, T, D)``, ``(B, T, V)``."""
    return cast(ClassificationHead, network.head).linear(network.backbone.final(x))
