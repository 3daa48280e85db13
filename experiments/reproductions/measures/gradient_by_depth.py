"""T1: the gradient of the last feed-forward matrix at initialisation (Xiong et al. 2020, arXiv:2002.04745)."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, autograd

from experiments.reproductions.measurements import Row
from experiments.reproductions.measures.inputs import all_real, input_generator, network, token_logits, zipf_tokens
from experiments.reproductions.setups import GradientByDepth
from lightning_modules.network.network import Network


def measure(setup: GradientByDepth, seed: int) -> list[Row]:
    """Return the gradient norms by variant and depth, of a cross-entropy at every token against a Zipf-drawn target.

    After the last block's second matrix W₂ nothing mixes tokens, so with h_i its input and δ_i the gradient of token
    i's loss with respect to its output, that loss has the gradient δ_i·h_iᵀ. ``token_gradient_norm`` is the theorem's
    quantity (theorem 1, for the loss at one position), ``batch_gradient_norm`` that of the loss averaged over tokens::

        mean_i ‖δ_i‖·‖h_i‖          ‖(1/n) Σ_i δ_i·h_iᵀ‖_F
    """
    generator = input_generator(seed)
    tokens = zipf_tokens(setup.vocabulary, setup.rows, setup.length, generator)
    targets = zipf_tokens(setup.vocabulary, setup.rows, setup.length, generator)
    found: list[Row] = []
    for variant in setup.variants:
        for layers in setup.layers:
            built = network(setup, setup.start, variant, layers, seed)
            token, batch = last_matrix_gradients(built, tokens, targets)
            found.append(
                {"variant": variant, "layers": layers, "token_gradient_norm": token, "batch_gradient_norm": batch}
            )
    return found


def last_matrix_gradients(network: Network, tokens: Tensor, targets: Tensor) -> tuple[float, float]:
    """Return mean norm over tokens, and norm of the mean, of the gradients of the last feed-forward matrix."""
    last = list(network.blocks.children())[-1]
    matrix = last.get_submodule("feed_forward.function.output")
    seen: dict[str, Tensor] = {}
    hook = matrix.register_forward_hook(lambda module, inputs, output: seen.update(input=inputs[0], output=output))
    try:
        x = network.blocks(network.backbone.embeddings(tokens), all_real(tokens))
    finally:
        hook.remove()
    loss = F.cross_entropy(token_logits(network, x).flatten(0, 1), targets.flatten())
    mean_gradient, delta = autograd.grad(loss, (cast(Tensor, matrix.weight), seen["output"]))
    delta = delta * targets.numel()  # of each token's own loss
    token = (delta.norm(dim=-1) * seen["input"].norm(dim=-1)).mean()
    return token.item(), mean_gradient.norm().item()
