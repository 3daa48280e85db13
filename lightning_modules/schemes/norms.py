"""Normalisation operations, each one a small module; ``NORMS`` names them for variants.

To add a norm, write a subclass of :class:`Norm` whose constructor takes the width and the block, and register it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Norm(nn.Module):
    """Base of every real norm: what ``counting`` counts, and what weight decay and the "no norm" tests recognise.

    Maps ``(..., width)`` to the same shape. The absence of a norm is ``nn.Identity``, which is no ``Norm``.

    Args:
        width: features that are normalised.
        block: number of the block that it stands in, counted from 1; also 1 before and after the blocks.
    """

    def __init__(self, width: int, block: int = 1) -> None:
        super().__init__()
        self.width = width
        self.block = block

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

    def __init__(self, width: int, block: int = 1) -> None:
        super().__init__(width, block)
        self.gain = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` of shape ``(..., width)``; the fused kernel computes the formula above."""
        return F.layer_norm(x, (self.width,), self.gain, self.bias, self.epsilon)


class DepthScaledLayerNorm(LayerNorm):
    """LayerNorm Scaling: ``y = LN(x) / √l`` in block l, counted from 1 (Sun et al. 2025, arXiv:2502.05795, equation 7).

    It keeps the variance of deep Pre-LN streams from growing; outside blocks it is plain layer normalisation.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` of shape ``(..., width)`` and divide by the root of the block's number."""
        return super().forward(x) / math.sqrt(self.block)


class LayerNormOverTokens(LayerNorm):
    """The article's own layer normalisation, run literally: it normalises ``dim=1``, which on (B, T, D) is the tokens.

    ::

        y[b, t, d] = gain_d · (x[b, t, d] - mean_t x[b, t, d]) / √(variance_t x[b, t, d] + ε) + bias_d

    Mean and variance run over all T positions of a row, padding included, so a row's outputs depend on how far its
    batch is padded, and what one token gets depends on all others. Kept to show what that does, not to be used.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` of shape ``(B, T, width)`` over its tokens."""
        centred = x - x.mean(dim=1, keepdim=True)
        variance = centred.square().mean(dim=1, keepdim=True)
        return self.gain * centred * torch.rsqrt(variance + self.epsilon) + self.bias


NORMS: dict[str, Callable[[int, int], nn.Module]] = {
    "layer_norm": LayerNorm,
    "depth_scaled_layer_norm": DepthScaledLayerNorm,
    "layer_norm_over_tokens": LayerNormOverTokens,
    "none": nn.Identity,
}
"""Norms by the name that a variant uses; each is built from the width it normalises and the number of its block."""
