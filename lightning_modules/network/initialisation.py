"""Initial weights: Xavier, Gaussian, or PyTorch's own, with a gain on the matrices of the blocks."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lightning_modules.network.parts import Function

GAUSSIAN_SD = 0.02


@torch.no_grad()
def initialise(function: Function, kind: str, gain: float = 1.0) -> None:
    """Draw the matrices of attention or of a feed-forward network, and set their biases to zero.

    - ``xavier``: W ~ U(-a, a), a = gain·√(6 / (inputs + outputs)) (Glorot & Bengio 2010);
    - ``gaussian``: W ~ N(0, (gain·0.02)²) (Radford et al. 2018, section 4.1; also arXiv:1810.04805's code);
    - ``random``: PyTorch's default, W ~ U(-a, a), a = gain/√inputs; biases keep PyTorch's default draw.

    Query, key and value are one fused matrix; each is drawn as a ``(D, D)`` matrix. The parameters of residuals and ops
    start as their constructors say.
    """
    for matrix in function.matrices().values():
        draw(matrix, kind, gain)
    clear_biases(function.children(), kind)


@torch.no_grad()
def initialise_linear(root: nn.Module, kind: str) -> None:
    """Draw the matrix of every linear map below ``root``, such as a head, and set its bias to zero, as above."""
    linear = [module for module in root.modules() if isinstance(module, nn.Linear)]
    for module in linear:
        draw(module.weight, kind, 1.0)
    clear_biases(linear, kind)


def clear_biases(modules: Iterable[nn.Module], kind: str) -> None:
    """Set the biases of linear maps to zero, unless ``kind`` is ``random``."""
    for module in modules:
        if kind != "random" and isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


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

    Without ``std`` it is 1 with ``random``, which is PyTorch's default, and else 0.02 as in BERT (arXiv:1810.04805).
    The smaller the start, the sooner a rate that suits the blocks moves an embedding.
    """
    if std is None:
        std = 1.0 if kind == "random" else GAUSSIAN_SD
    for module in root.modules():
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=std)
            if module.padding_idx is not None:
                module.weight[module.padding_idx].zero_()
