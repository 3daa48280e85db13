"""Normalisation operations, each one a small module; ``NORMS`` names them for variants.

To add a norm, write a subclass of :class:`Norm` whose constructor takes the width, and register it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Norm(nn.Module):
    """Base of every real norm: what ``counting`` counts, and what weight decay and the "no norm" tests recognise.

    Maps ``(..., width)`` to the same shape. The absence of a norm is ``nn.Identity``, which is no ``Norm``.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def extra_repr(self) -> str:
        """Show the width where the module is printed."""
        return str(self.width)


class LayerNorm(Norm):
    """Layer normalisation over the last axis (Ba et al. 2016, arXiv:1607.06450, equations 3 and 4).

    ::

        y = gain ⊙ (x - mean) / √(variance + ε) + bias

    with the biased variance, ε = 1e-5 inside the root, gain starting at one and bias at zero.
    """

    epsilon = 1e-5

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.gain = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` of shape ``(..., width)``; the fused kernel computes the formula above."""
        return F.layer_norm(x, (self.width,), self.gain, self.bias, self.epsilon)


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "layer_norm": LayerNorm,
    "none": nn.Identity,
}
"""Norms by the name that a variant uses; each is built from the width it normalises."""
