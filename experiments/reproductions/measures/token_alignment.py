"""T3: tokens align and query gradients vanish in deep Post-LN networks (Noci et al. 2022, arXiv:2206.03126)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from experiments.reproductions.measurements import Row
from experiments.reproductions.measures.inputs import all_real, input_generator, network, token_logits, zipf_tokens
from experiments.reproductions.setups import TokenAlignment
from lightning_modules.network.network import Network
from lightning_modules.probes.gradients import gradient_norms
from lightning_modules.probes.signal import token_cosine


def measure(setup: TokenAlignment, seed: int) -> list[Row]:
    """Return, after every block of every network, how alike tokens are and how small query gradients are.

    ``token_cosine`` is the mean cosine between different tokens of a row after the block,
    ``query_to_value_gradient`` is ``‖∂L/∂W_Q‖_F / ‖∂L/∂W_V‖_F`` in the block, L the mean cross-entropy at all tokens
    against Zipf-drawn targets. Float64.
    """
    generator = input_generator(seed)
    tokens = zipf_tokens(setup.vocabulary, setup.rows, setup.length, generator)
    targets = zipf_tokens(setup.vocabulary, setup.rows, setup.length, generator)
    return [
        {"variant": variant, "layers": layers, "block": block, "token_cosine": cosine, "query_to_value_gradient": ratio}
        for variant in setup.variants
        for layers in setup.layers
        for block, cosine, ratio in by_block(
            network(setup, setup.start, variant, layers, seed).double(), tokens, targets
        )
    ]


def by_block(network: Network, tokens: Tensor, targets: Tensor) -> Iterator[tuple[int, float, float]]:
    """Yield number, token cosine and gradient ratio of each block, counted from 1."""
    context = all_real(tokens)
    x = network.backbone.embeddings(tokens)
    cosines = []
    for block in network.blocks.children():
        x = block(x, context)
        cosines.append(token_cosine(x, context.attention_mask).item())
    loss = F.cross_entropy(token_logits(network, x).flatten(0, 1), targets.flatten())
    parameters = list(network.blocks.parameters())
    gradients: dict[Tensor, Tensor] = dict(zip(parameters, torch.autograd.grad(loss, parameters), strict=True))
    for number, (block, cosine) in enumerate(zip(network.blocks.children(), cosines, strict=True), start=1):
        norms = gradient_norms(block, gradients)
        yield number, cosine, (norms["attention_query"] / norms["attention_value"]).item()
