"""T7a at initialisation: how the variance of the residual stream grows (Sun et al. 2025, arXiv:2502.05795)."""

from __future__ import annotations

import torch
from torch import Tensor

from experiments.reproductions.measurements import Row
from experiments.reproductions.measures.inputs import all_real, input_generator, network, zipf_tokens
from experiments.reproductions.setups import StreamVariance
from lightning_modules.network.network import Network


def measure(setup: StreamVariance, seed: int) -> list[Row]:
    """Return the variance of all features of all tokens, before the first and after every block."""
    tokens = zipf_tokens(setup.vocabulary, setup.rows, setup.length, input_generator(seed))
    return [
        {"start": start.name, "variant": variant, "layers": layers, "block": block, "variance": variance}
        for start in setup.starts
        for variant in setup.variants
        for layers in setup.layers
        for block, variance in enumerate(variances(network(setup, start, variant, layers, seed), tokens))
    ]


@torch.no_grad()
def variances(network: Network, tokens: Tensor) -> list[float]:
    """Return the variance of the stream that tokens ``(B, T)`` open, and after each block."""
    context = all_real(tokens)
    x = network.backbone.embeddings(tokens)
    found = [x.var(correction=0).item()]
    for block in network.blocks.children():
        x = block(x, context)
        found.append(x.var(correction=0).item())
    return found
