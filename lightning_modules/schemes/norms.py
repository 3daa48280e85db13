"""Norms, and the variants that differ by what they take for a norm.

To add one, subclass :class:`~lightning_modules.network.sites.Norm`, name it with ``@op``, and register a variant.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.network.parts import op
from lightning_modules.network.sites import Norm
from lightning_modules.schemes.place import Place
from lightning_modules.schemes.placements import ARTICLE, POST_LN
from lightning_modules.schemes.variants import PADDING, TIME, register


@op("layer_norm")
class LayerNorm(Norm):
    """Layer normalisation over the last axis (Ba et al. 2016, arXiv:1607.06450, equations 3 and 4).

    ::

        y = gain ⊙ (x - mean) / √(variance + ε) + bias

    with the biased variance, ε = 1e-5 inside the root, gain starting at one and bias at zero.
    """

    epsilon = 1e-5

    def __init__(self, width: int, place: Place) -> None:
        super().__init__(width, place)
        self.gain = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` of shape ``(..., width)``; the fused kernel computes the formula above."""
        return F.layer_norm(x, (self.width,), self.gain, self.bias, self.epsilon)


@op("layer_norm_over_tokens")
class LayerNormOverTokens(LayerNorm):
    """The article's own layer normalisation, run literally: it normalises ``dim=1``, which on (B, T, D) is the tokens.

    ::

        y[b, t, d] = gain_d · (x[b, t, d] - mean_t x[b, t, d]) / √(variance_t x[b, t, d] + ε) + bias_d

    Mean and variance run over all T positions of a row, padding included. So a row's outputs depend on how far its
    batch is padded, and what one token gets depends on all others. It is here to show what that does.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` of shape ``(B, T, width)`` over its tokens."""
        centred = x - x.mean(dim=1, keepdim=True)
        variance = centred.square().mean(dim=1, keepdim=True)
        return self.gain * centred * torch.rsqrt(variance + self.epsilon) + self.bias


register(
    POST_LN.derive(
        "article_layer_norm_dim1",
        title="Article's norm (dim=1)",
        formula="N(x + F(x)), N over the tokens of a row, padding included",
        source=f"the layer normalisation of the code in {ARTICLE}, which normalises dim=1",
        norm="layer_norm_over_tokens",
        mixes=frozenset({TIME, PADDING}),
    )
)
