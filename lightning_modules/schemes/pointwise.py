"""Ops that act on each element: constants by depth, learned gains, activations; and the variants that they make."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lightning_modules.network.parts import op
from lightning_modules.schemes.place import Place
from lightning_modules.schemes.placements import ARTICLE, NO_NORM, POST_LN, PRE_LN
from lightning_modules.schemes.variants import INPUT, NORM, OUTPUT, POST, register


class Constant(nn.Module):
    """``y = c·x`` with a fixed c."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` to the same shape."""
        return self.value * x

    def extra_repr(self) -> str:
        """Show the constant where the module is printed."""
        return f"{self.value:.4g}"


class Gain(nn.Module):
    """``y = g ⊙ x`` with a learned g, a scalar or a vector; weight decay leaves it alone.

    Args:
        start: g at the start, a scalar tensor or one of shape ``(width,)``.
    """

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.gain = nn.Parameter(start)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., width)`` to the same shape."""
        return self.gain * x


@op("relu")
def relu(width: int, place: Place) -> nn.Module:
    """``max(x, 0)``."""
    return nn.ReLU()


@op("zero_gain")
def zero_gain(width: int, place: Place) -> Gain:
    """A learned scalar that starts at 0."""
    return Gain(torch.zeros(()))


@op("over_root_of_block")
def over_root_of_block(width: int, place: Place) -> Constant:
    """``1/√l`` in block l, counted from 1."""
    return Constant(1 / math.sqrt(place.block))


@op("over_root_of_blocks")
def over_root_of_blocks(width: int, place: Place) -> Constant:
    """``1/√L`` in a network of L blocks."""
    return Constant(1 / math.sqrt(place.blocks))


register(
    POST_LN.derive(
        "article_block",
        title="Article's block",
        formula="ReLU(LN(x + F(x)))",
        source=f"the residual layer as the article writes it: {ARTICLE}",
        sites={POST: (NORM, "relu")},
    )
)
register(
    PRE_LN.derive(
        "layer_norm_scaling",
        title="LayerNorm Scaling",
        formula="x + F(LN(x)/√l) in block l, and LN before the head",
        source="Sun et al. 2025, arXiv:2502.05795, equation 7",
        sites=PRE_LN.sites | {INPUT: (NORM, "over_root_of_block")},
    )
)
# Each sublayer has an α of its own; the authors' code shares one between the two sublayers of a block.
register(
    NO_NORM.derive(
        "rezero",
        title="ReZero",
        formula="x + α·F(x), α = 0 at the start",
        source="Bachlechner et al. 2020, arXiv:2003.04887, equation 1",
        sites={OUTPUT: "zero_gain"},
    )
)
register(
    POST_LN.derive(
        "depth_scaled_post_ln",
        title="Depth-scaled Post-LN",
        formula="LN(x + F(x)/√L)",
        source="Noci et al. 2022, arXiv:2206.03126, section 4",
        sites=POST_LN.sites | {OUTPUT: "over_root_of_blocks"},
    )
)
