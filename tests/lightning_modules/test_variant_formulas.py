"""Every variant computes its paper's formula, composed here by hand from F and PyTorch's own layer normalisation."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as functional
from synthetic_batches import make_batch, make_network
from torch import Tensor

from lightning_modules.network.context import Context
from lightning_modules.schemes.variants import VARIANTS

LAYERS = 3
ALPHA = 0.3
"""What ReZero's weights are set to; they start at zero."""
Step = Callable[[Tensor, Callable[[Tensor], Tensor], int], Tensor]
"""From the stream ``(B, T, D)``, the sublayer's function F and the block's number to the new stream."""


def normalise(x: Tensor) -> Tensor:
    return functional.layer_norm(x, (x.shape[-1],))


def over_tokens(x: Tensor) -> Tensor:
    return functional.layer_norm(x.transpose(1, 2), (x.shape[1],)).transpose(1, 2)


def same(x: Tensor) -> Tensor:
    return x


FORMULAS: dict[str, Step] = {
    "post_ln": lambda x, f, block: normalise(x + f(x)),
    "pre_ln": lambda x, f, block: x + f(normalise(x)),
    "no_residual": lambda x, f, block: normalise(f(x)),
    "no_residual_pre": lambda x, f, block: f(normalise(x)),
    "no_norm": lambda x, f, block: x + f(x),
    "plain": lambda x, f, block: f(x),
    "article_block": lambda x, f, block: normalise(x + f(x)).relu(),
    "article_layer_norm_dim1": lambda x, f, block: over_tokens(x + f(x)),
    "peri_ln": lambda x, f, block: x + normalise(f(normalise(x))),
    "layer_norm_scaling": lambda x, f, block: x + f(normalise(x) / math.sqrt(block)),
    "rezero": lambda x, f, block: x + ALPHA * f(x),
    "deepnorm": lambda x, f, block: normalise((2 * LAYERS) ** 0.25 * x + f(x)),
    "depth_scaled_post_ln": lambda x, f, block: normalise(x + f(x) / math.sqrt(LAYERS)),
}
AROUND = {
    "pre_ln": (same, normalise),
    "no_residual_pre": (same, normalise),
    "layer_norm_scaling": (same, normalise),
    "peri_ln": (normalise, normalise),
}
"""What follows the embeddings and what precedes the head, where it is not nothing."""


def test_every_variant_with_blocks_has_its_formula_here() -> None:
    assert set(FORMULAS) == set(VARIANTS) - {"bag_of_embeddings"}


@pytest.mark.parametrize("variant", FORMULAS)
def test_a_network_is_its_formula_from_the_embeddings_to_the_head(variant: str) -> None:
    network, batch = make_network(torch.float64, variant=variant, layers=LAYERS, initialisation_gain=2.0), make_batch(5)
    input_ids, mask = batch["input_ids"], batch["attention_mask"]
    context, step = Context(mask), FORMULAS[variant]
    after_embeddings, before_head = AROUND.get(variant, (same, same))
    for name, parameter in network.named_parameters():
        if name.endswith("branch_weight"):
            torch.nn.init.constant_(parameter, ALPHA)

    x = after_embeddings(network.embedding.positions(network.embedding.tokens(input_ids)))
    for number, block in enumerate(network.blocks.children(), start=1):
        for sublayer in (block.attention, block.feed_forward):
            x = step(x, lambda read, function=sublayer.function: function(read, context), number)
    rows = [before_head(x)[row][mask[row]].mean(dim=0) for row in range(5)]

    torch.testing.assert_close(network(input_ids, mask), network.head(torch.stack(rows)))
