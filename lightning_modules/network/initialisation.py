"""Initial weights: Xavier, Gaussian, or PyTorch's own, with a gain on the matrices of the blocks."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lightning_modules.network.attention import SelfAttention
from lightning_modules.network.feed_forward import FeedForward

GAUSSIAN_SD = 0.02

BRANCH_GAINS: dict[str, Callable[[int], float]] = {
    "none": lambda blocks: 1.0,
    "deepnorm": lambda blocks: (8 * blocks) ** -0.25,
}
"""Factor that a scheme prescribes for the initial branch weights, by the number of blocks L. ``deepnorm``: (8L)^-¼
(Wang et al. 2022, arXiv:2203.00555, table 1, encoder-only)."""


@torch.no_grad()
def initialise(root: nn.Module, kind: str, gain: float = 1.0) -> None:
    """Draw the matrix of every ``nn.Linear`` below ``root`` and set its bias to zero.

    - ``xavier``: W ~ U(-a, a), a = gain·√(6 / (inputs + outputs)) (Glorot & Bengio 2010, equation 16);
    - ``gaussian``: W ~ N(0, (gain·0.02)²) (Radford et al. 2018, section 4.1; also arXiv:1810.04805's code);
    - ``random``: PyTorch's default, W ~ U(-a, a), a = gain/√inputs; biases keep PyTorch's default draw.

    Query, key and value stand in one fused matrix; each is drawn as the ``(D, D)`` matrix that it is.
    """
    fused = {id(module.query_key_value) for module in root.modules() if isinstance(module, SelfAttention)}
    for module in root.modules():
        if isinstance(module, nn.Linear):
            for matrix in module.weight.chunk(3 if id(module) in fused else 1):
                draw(matrix, kind, gain)
            if kind != "random":
                nn.init.zeros_(module.bias)


@torch.no_grad()
def scale_branches(root: nn.Module, gain: float) -> None:
    """Multiply the matrices through which a sublayer's output passes by ``gain``: all but query and key.

    That is value, output projection and both feed-forward matrices (arXiv:2203.00555, figure 2).
    """
    for module in root.modules():
        if isinstance(module, SelfAttention):
            module.query_key_value.weight.chunk(3)[2].mul_(gain)
            module.output.weight.mul_(gain)
        elif isinstance(module, FeedForward):
            module.hidden.weight.mul_(gain)
            module.output.weight.mul_(gain)


def draw(matrix: Tensor, kind: str, gain: float) -> None:
    """Fill ``matrix`` of shape ``(outputs, inputs)`` in place from the distribution ``kind``."""
    outputs, inputs = matrix.shape
    if kind == "gaussian":
        nn.init.normal_(matrix, std=gain * GAUSSIAN_SD)
    else:
        bound = gain * (math.sqrt(6 / (inputs + outputs)) if kind == "xavier" else 1 / math.sqrt(inputs))
        nn.init.uniform_(matrix, -bound, bound)


@torch.no_grad()
def initialise_embeddings(root: nn.Module, kind: str, std: float | None = None) -> None:
    """Draw every embedding table below ``root`` from N(0, std²); the row of the padding token stays zero.

    Without ``std`` it is 1, PyTorch's default, with ``random``, and 0.02 otherwise (as BERT, arXiv:1810.04805):
    the smaller the start, the sooner a rate that suits the blocks has moved an embedding.
    """
    if std is None:
        std = 1.0 if kind == "random" else GAUSSIAN_SD
    for module in root.modules():
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=std)
            if module.padding_idx is not None:
                module.weight[module.padding_idx].zero_()
