"""Weights of branch and skip: constants by depth, learned gains, a projection; and the variants that they make."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lightning_modules.network.parts import op
from lightning_modules.schemes.place import Place, Role
from lightning_modules.schemes.placements import ARTICLE, NO_NORM, POST_LN, PRE_LN
from lightning_modules.schemes.variants import INPUT, NORM, OUTPUT, POST, SKIP, register, use


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


class Shift(nn.Module):
    """``y = x - b`` with a learned scalar b = 0, as Fixup's (arXiv:1901.09321)."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` to the same shape."""
        return x - self.bias


@op("constant")
def constant(width: int, place: Place, value: float = 1.0) -> Constant:
    """A fixed factor."""
    return Constant(value)


@op("scalar_gain")
def scalar_gain(width: int, place: Place, start: float = 1.0) -> Gain:
    """A learned scalar."""
    return Gain(torch.tensor(float(start)))


@op("gain")
def gain(width: int, place: Place) -> Gain:
    """A learned vector that starts at one."""
    return Gain(torch.ones(width))


@op("head_gains")
def head_gains(width: int, place: Place) -> Gain:
    """A learned scalar per head, 1 at the start, for the site ``heads`` (arXiv:2110.09456)."""
    return Gain(torch.ones(place.heads, 1, 1))


@op("root_of_width_gain")
def root_of_width_gain(width: int, place: Place) -> Gain:
    """A learned scalar that starts at √D."""
    return Gain(torch.tensor(math.sqrt(width)))


@op("shift")
def shift(width: int, place: Place) -> Shift:
    """A learned scalar that is subtracted."""
    return Shift()


@op("layer_scale")
def layer_scale(width: int, place: Place, start: float = 0.0) -> Gain:
    """A learned vector on the branch: 0.1 up to 18 blocks, 1e-5 up to 24, then 1e-6 (arXiv:2103.17239).

    A positive ``start`` is the value at every depth.
    """
    by_depth = 0.1 if place.blocks <= 18 else 1e-5 if place.blocks <= 24 else 1e-6
    return Gain(torch.full((width,), start if start > 0 else by_depth))


@op("projection")
class Projection(nn.Module):
    """``W·x``, a linear map on the skip (He et al. 2015, arXiv:1512.03385), W as ``nn.Linear`` draws it."""

    def __init__(self, width: int, place: Place) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., width)`` to the same shape."""
        return self.linear(x)


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


@op("deepnorm_alpha")
def deepnorm_alpha(width: int, place: Place) -> Constant:
    """``α = (2L)^¼`` for L blocks (Wang et al. 2022, arXiv:2203.00555, figure 2, encoder-only)."""
    return Constant((2 * place.blocks) ** 0.25)


@op("keel_alpha")
def keel_alpha(width: int, place: Place) -> Constant:
    """``α = 2L``, the number of sublayers, but 1 in the first block (arXiv:2601.19895, sections 3 and 3.1)."""
    return Constant(1.0 if place.block == 1 else float(place.sublayers))


@op("root_of_share")
def root_of_share(width: int, place: Place, tau: float = 0.1) -> Constant:
    """``√τ``."""
    return Constant(math.sqrt(tau))


@op("root_of_rest")
def root_of_rest(width: int, place: Place, tau: float = 0.1) -> Constant:
    """``√(1 - τ)``."""
    return Constant(math.sqrt(1 - tau))


@op("running_mean_skip")
def running_mean_skip(width: int, place: Place) -> Constant:
    """``√(l/(l + 1))`` in sublayer l, counted from 1 (arXiv:2502.05967)."""
    return Constant(math.sqrt((place.index + 1) / (place.index + 2)))


@op("running_mean_branch")
def running_mean_branch(width: int, place: Place) -> Constant:
    """``√(1/(l + 1))`` in sublayer l, counted from 1 (arXiv:2502.05967)."""
    return Constant(math.sqrt(1 / (place.index + 2)))


def unit_scaled_tau(place: Place, mult: float, ratio: float) -> float:
    """Return τ of a sublayer under u-μP (Blake et al. 2024, arXiv:2407.17465)::

        τ_i² = α_i²/(n/2 + a·α_attention² + f·α_ffn²),   α_ffn = r·√(2/(1 + ρ²)),   α_attention = ρ·α_ffn

    with n sublayers, of which a attentions and f feed-forward networks are below the i-th; r is ``mult``, ρ ``ratio``.
    """
    feed_forward = mult * math.sqrt(2 / (1 + ratio**2))
    attention = ratio * feed_forward
    below = (place.index + 1) // 2 * attention**2 + place.index // 2 * feed_forward**2
    own = attention if place.role is Role.ATTENTION else feed_forward
    return own / math.sqrt(place.sublayers / 2 + below)


@op("unit_scaled_skip")
def unit_scaled_skip(width: int, place: Place, mult: float = 1.0, ratio: float = 1.0) -> Constant:
    """``1/√(1 + τ²)`` (arXiv:2407.17465)."""
    return Constant(1 / math.sqrt(1 + unit_scaled_tau(place, mult, ratio) ** 2))


@op("unit_scaled_branch")
def unit_scaled_branch(width: int, place: Place, mult: float = 1.0, ratio: float = 1.0) -> Constant:
    """``τ/√(1 + τ²)`` (arXiv:2407.17465)."""
    tau = unit_scaled_tau(place, mult, ratio)
    return Constant(tau / math.sqrt(1 + tau**2))


@op("complete_p_alpha")
def complete_p_alpha(width: int, place: Place, base: int = 2, alpha: float = 1.0) -> Constant:
    """``(L/L_base)^-α`` (Dey et al. 2025, arXiv:2505.01618, table 1)."""
    return Constant((place.blocks / base) ** -alpha)


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
        source="Sun et al. 2025, arXiv:2502.05795",
        sites=PRE_LN.sites | {INPUT: (NORM, "over_root_of_block")},
    )
)
# Each sublayer has an α of its own; the authors' code shares one between the two sublayers of a block.
register(
    NO_NORM.derive(
        "rezero",
        title="ReZero",
        formula="x + α·F(x), α = 0 at the start",
        source="Bachlechner et al. 2020, arXiv:2003.04887",
        sites={OUTPUT: "zero_gain"},
    )
)
register(
    POST_LN.derive(
        "depth_scaled_post_ln",
        title="Depth-scaled Post-LN",
        formula="LN(x + F(x)/√L)",
        source="Noci et al. 2022, arXiv:2206.03126",
        sites=POST_LN.sites | {OUTPUT: "over_root_of_blocks"},
    )
)
register(
    PRE_LN.derive(
        "depth_scaled_pre_ln",
        title="Depth-scaled Pre-LN",
        formula="x + F(LN(x))/√L, and LN before the head",
        source="Hayou et al. 2021, arXiv:2010.12859; Noci et al. 2022, arXiv:2206.03126",
        sites=PRE_LN.sites | {OUTPUT: "over_root_of_blocks"},
        unverified="the papers were not read; the weight is theirs as others cite it",
    )
)
register(
    PRE_LN.derive(
        "skip_init",
        title="SkipInit with LN",
        formula="x + α·F(LN(x)), α = 0 at the start",
        source="De & Smith 2020, arXiv:2002.10444",
        sites=PRE_LN.sites | {OUTPUT: "zero_gain"},
        differs="The paper puts α in the place of a residual network's BatchNorm; here LN stays, or else it is ReZero.",
    )
)
register(
    PRE_LN.derive(
        "layer_scale",
        title="LayerScale",
        formula="x + λ ⊙ F(LN(x)), λ = 0.1 up to 18 blocks, 1e-5 up to 24, then 1e-6",
        source="Touvron et al. 2021, arXiv:2103.17239",
        sites=PRE_LN.sites | {OUTPUT: use("layer_scale", start=0.0)},
        pitfalls="x-transformers starts λ at 0 by default, which is ReZero with a vector.",
        tune="start",
    )
)
register(
    PRE_LN.derive(
        "fixed_residual",
        title="Fixed residual weights",
        formula="√(1 - τ)·x + √τ·F(LN(x)), τ = 0.1",
        source="Narayan et al. 2025, arXiv:2502.05967",
        sites=PRE_LN.sites | {SKIP: use("root_of_rest", tau=0.1), OUTPUT: use("root_of_share", tau=0.1)},
        differs="μS puts LN after the sublayer and trains in eight bits.",
        tune="tau",
    )
)
register(
    PRE_LN.derive(
        "running_mean",
        title="Running-mean residual",
        formula="√(l/(l + 1))·x + √(1/(l + 1))·F(LN(x)) in sublayer l",
        source="Narayan et al. 2025, arXiv:2502.05967",
        sites=PRE_LN.sites | {SKIP: "running_mean_skip", OUTPUT: "running_mean_branch"},
        differs="μS puts LN after the sublayer and trains in eight bits.",
    )
)
register(
    PRE_LN.derive(
        "u_mup_residual",
        title="u-μP residual weights",
        formula="(x + τ·F(LN(x)))/√(1 + τ²), τ by sublayer so that all branches weigh alike",
        source="Blake et al. 2024, arXiv:2407.17465",
        sites=PRE_LN.sites
        | {
            SKIP: use("unit_scaled_skip", mult=1.0, ratio=1.0),
            OUTPUT: use("unit_scaled_branch", mult=1.0, ratio=1.0),
        },
        differs="The residual rule alone: no unit scaling of weights, no rates by width.",
        pitfalls="A larger `mult` favours the branches; one docstring of the authors says the reverse.",
        tune="mult, ratio",
    )
)
register(
    NO_NORM.derive(
        "projection_shortcut",
        title="Projection shortcut",
        formula="W·x + F(x)",
        source=f"He et al. 2015, arXiv:1512.03385 (option C); the residual block of {ARTICLE}",
        sites={SKIP: "projection"},
        differs="Stream and branch have one width here, so every skip has the projection.",
        pitfalls="The skip is no identity any more: with depth it fades or grows.",
    )
)
