"""Attention with other inputs, other logits, or other values."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.network.attention import SelfAttention
from lightning_modules.network.backbone import Backbone, Recipe
from lightning_modules.network.context import Context
from lightning_modules.network.parts import attention, op, recipe
from lightning_modules.network.sites import Norm
from lightning_modules.schemes.norms import RmsNorm
from lightning_modules.schemes.place import Place, Role
from lightning_modules.schemes.placements import POST_LN, PRE_LN
from lightning_modules.schemes.variants import (
    FINAL,
    INPUT,
    KEY,
    NORM,
    OUTPUT,
    QUERY,
    SKIP,
    VALUE,
    Variant,
    register,
    use,
)


def attention_logits(query: Tensor, key: Tensor) -> Tensor:
    """Return ``q·kᵀ/√d_h``, ``(B, H, T, T)``."""
    return query @ key.mT / math.sqrt(query.shape[-1])


def masked_softmax(scores: Tensor, key_mask: Tensor) -> Tensor:
    """Return the softmax over the keys that ``key_mask`` allows, ``(B, H, T, T)``, in float32 or better."""
    dtype = torch.promote_types(scores.dtype, torch.float32)
    scores = scores.to(dtype).masked_fill(~key_mask, torch.finfo(dtype).min)
    return scores.softmax(-1)


@attention("separate_inputs")
class SeparateInputs(SelfAttention):
    """Self-attention whose queries, keys and values have three inputs."""

    def project(self, x: Any, context: Context) -> tuple[Tensor, ...]:
        """Return queries, keys and values of ``x``, a sequence of three ``(B, T, D)``, each ``(B, H, T, d_h)``."""
        weights = self.query_key_value.weight.chunk(3)
        biases = [None] * 3 if self.query_key_value.bias is None else self.query_key_value.bias.chunk(3)
        made = [F.linear(way, weight, bias) for way, weight, bias in zip(x, weights, biases, strict=True)]
        return tuple(part.unflatten(-1, (self.number_of_heads, -1)).transpose(1, 2) for part in made)


@attention("value_residual")
class ValueResidual(SelfAttention):
    """``V ← λ₁·V₁ + λ₂·V`` with the first block's values V₁, λ = ½ (Zhou et al. 2024, arXiv:2410.17897)."""

    def __init__(self, variant: Variant, place: Place) -> None:
        super().__init__(variant, place)
        self.of_first, self.of_own = nn.Parameter(torch.tensor(0.5)), nn.Parameter(torch.tensor(0.5))

    def mix(self, query: Tensor, key: Tensor, value: Tensor, context: Context) -> Tensor:
        first = context.shared.setdefault("value", value)
        return super().mix(query, key, self.of_first * first + self.of_own * value, context)


@attention("single_value")
class SingleValue(SelfAttention):
    """SVFormer: every block uses the first one's values (arXiv:2410.17897)."""

    def __init__(self, variant: Variant, place: Place) -> None:
        self.fused = (QUERY, KEY, VALUE) if place.block == 1 else (QUERY, KEY)
        super().__init__(variant, place)

    def project(self, x: Tensor, context: Context) -> tuple[Tensor, ...]:
        parts = super().project(x, context)
        if len(parts) == 2:
            return (*parts, context.recall("value"))
        context.shared["value"] = parts[2]
        return parts


@attention("residual_logits")
class ResidualLogits(SelfAttention):
    """``softmax(q·kᵀ/√d_h + the previous block's logits)·v`` (He et al. 2020, arXiv:2012.11747)."""

    def mix(self, query: Tensor, key: Tensor, value: Tensor, context: Context) -> Tensor:
        scores = attention_logits(query, key)
        if "logits" in context.shared:
            scores = scores + context.shared["logits"]
        context.shared["logits"] = scores
        return masked_softmax(scores, context.key_mask).to(value.dtype) @ value


@attention("shaped")
class ShapedAttention(SelfAttention):
    """``(α·I + β·A - γ·C)·v`` per head, C being A at zero logits, α = β = γ = 1.

    Noci et al. 2023, arXiv:2306.17759; He & Hofmann 2023, arXiv:2311.01906.
    """

    def __init__(self, variant: Variant, place: Place) -> None:
        super().__init__(variant, place)
        self.alpha, self.beta, self.gamma = (nn.Parameter(torch.ones(place.heads, 1, 1)) for _ in range(3))

    def mix(self, query: Tensor, key: Tensor, value: Tensor, context: Context) -> Tensor:
        scores = attention_logits(query, key)
        centre = masked_softmax(torch.zeros_like(scores), context.key_mask)
        weights = self.beta * masked_softmax(scores, context.key_mask) - self.gamma * centre
        return self.alpha * value + weights.to(value.dtype) @ value


@attention("simplified")
class SimplifiedAttention(ShapedAttention):
    """Shaped attention without output projection, with a values' matrix in the first block alone.

    He & Hofmann 2023, arXiv:2311.01906, section 4.2, and the authors' ``skipless.yaml``.
    """

    def __init__(self, variant: Variant, place: Place) -> None:
        self.fused = (QUERY, KEY, VALUE) if place.block == 1 else (QUERY, KEY)
        super().__init__(variant, place)
        self.output = nn.Identity()

    def project(self, x: Tensor, context: Context) -> tuple[Tensor, ...]:
        parts = super().project(x, context)
        own = x.unflatten(-1, (self.number_of_heads, -1)).transpose(1, 2)
        return parts if len(parts) == 3 else (*parts, own)

    def matrices(self) -> dict[str, Tensor]:
        """Return queries', keys' and, in the first block, values' matrices, each ``(D, D)``."""
        parts = self.query_key_value.weight.chunk(len(self.fused))
        return {f"attention_{name}": part for name, part in zip(self.fused, parts, strict=True)}


@attention("skipping_value")
class ValueSkipInit(SelfAttention):
    """``(α·I + β·A)·v``, α = 1, β = 0 (He et al. 2023, arXiv:2302.10322; arXiv:2311.01906)."""

    def __init__(self, variant: Variant, place: Place) -> None:
        super().__init__(variant, place)
        self.alpha, self.beta = nn.Parameter(torch.ones(())), nn.Parameter(torch.zeros(()))

    def mix(self, query: Tensor, key: Tensor, value: Tensor, context: Context) -> Tensor:
        return self.alpha * value + self.beta * super().mix(query, key, value, context)


@recipe("zero_query")
class ZeroQuery(Recipe):
    """Queries start at zero, so that all keys weigh alike (arXiv:2311.01906, section 4.1)."""

    def initialise(self, backbone: Backbone, head: nn.Module) -> None:
        for _, name, matrix in backbone.matrices():
            if name == "attention_query":
                matrix.zero_()


@recipe("identity_value")
class IdentityValue(Recipe):
    """Values' matrices start as the identity (arXiv:2311.01906, ``first_layer_value_resid_gain``)."""

    def initialise(self, backbone: Backbone, head: nn.Module) -> None:
        for _, name, matrix in backbone.matrices():
            if name == "attention_value":
                nn.init.eye_(matrix)


@recipe("orthogonal_value")
class OrthogonalValue(Recipe):
    """Values' matrix and output projection start orthogonal (arXiv:2302.10322)."""

    def initialise(self, backbone: Backbone, head: nn.Module) -> None:
        for _, name, matrix in backbone.matrices():
            if name in ("attention_value", "attention_output"):
                nn.init.orthogonal_(matrix)


@op("whole_width_rms_norm")
class WholeWidthRmsNorm(Norm):
    """RMSNorm of queries or keys ``(B, H, T, d_h)`` over all heads together (arXiv:2501.00656, section 3.3.2)."""

    def __init__(self, width: int, place: Place) -> None:
        super().__init__(width * place.heads, place)
        self.gain = nn.Parameter(torch.ones(place.heads, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * x * torch.rsqrt(x.square().mean((-3, -1), keepdim=True) + RmsNorm.epsilon)


@op("learned_logit_scale")
class LearnedLogitScale(nn.Module):
    """``g·√d_h·q``: a learned scalar in place of attention's 1/√d_h (Henry et al. 2020, arXiv:2010.04245)."""

    def __init__(self, width: int, place: Place, scale: float = 10.0) -> None:
        super().__init__()
        self.gain, self.root = nn.Parameter(torch.tensor(float(scale))), math.sqrt(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, H, T, d_h)`` to the same shape."""
        return self.gain * self.root * x


register(
    PRE_LN.derive(
        "value_residual",
        title="Value residual",
        formula="x + F(LN(x)), values λ₁·V₁ + λ₂·V with those of the first block",
        source="Zhou et al. 2024, arXiv:2410.17897 (learnable)",
        attention="value_residual",
        pitfalls="The place decides: BlaGPT found a module of its own worse, and this form better.",
    )
)
register(
    PRE_LN.derive(
        "sv_former",
        title="SVFormer",
        formula="x + F(LN(x)), all blocks with the values of the first",
        source="Zhou et al. 2024, arXiv:2410.17897",
        attention="single_value",
        pitfalls="A block cannot be looked at alone: its values come from below.",
    )
)
register(
    POST_LN.derive(
        "real_former",
        title="RealFormer",
        formula="LN(x + F(x)), logits q·kᵀ/√d + the previous block's logits",
        source="He et al. 2020, arXiv:2012.11747",
        attention="residual_logits",
        pitfalls="Logits are made one by one, which needs T² memory per head.",
    )
)
register(
    PRE_LN.derive(
        "shaped_attention",
        title="Shaped attention",
        formula="x + F(LN(x)), values mixed by α·I + β·A - γ·C, queries start at 0",
        source="Noci et al. 2023, arXiv:2306.17759; He & Hofmann 2023, arXiv:2311.01906",
        attention="shaped",
        recipes=("zero_query",),
    )
)
SAS_GAINS = {
    f"{Role.ATTENTION}.{OUTPUT}": "scalar_gain",
    f"{Role.FEED_FORWARD}.{OUTPUT}": use("scalar_gain", start=0.1),
}
SAS = PRE_LN.derive(
    "sas_feed_forward",
    norm="rms_norm",
    attention="simplified",
    recipes=("zero_query", "identity_value"),
    sites={INPUT: NORM, FINAL: NORM, f"{Role.FEED_FORWARD}.{SKIP}": "scalar_gain"} | SAS_GAINS,
)
SAS_ATTENTION = SAS.derive("sas_attention", residual="none")


def sas(place: Place) -> Variant:
    """Return the variant at a place of SAS: attention has no skip."""
    return SAS_ATTENTION if place.role is Role.ATTENTION else SAS


register(
    SAS.derive(
        "sas",
        parent="pre_ln",
        title="SAS",
        formula="z = (α·I + β·A - γ·C)·RMS(x); g·z + 0.1·FeedForward(RMS(z)), without values and output projection",
        source="He & Hofmann 2023, arXiv:2311.01906, section 4.2, and the authors' skipless.yaml",
        by_place=sas,
        differs="Learned positions; the first gain 0.1 is the authors' for 18 blocks, O(1/√L).",
        pitfalls="The first block keeps a values' matrix, which starts as the identity.",
    )
)
register(
    PRE_LN.derive(
        "sas_p",
        title="SAS-P",
        formula="(α·I + β·A - γ·C)·n + 0.1·FeedForward(n), n = RMS(x), no skip",
        source="He & Hofmann 2023, arXiv:2311.01906, section 4.3",
        norm="rms_norm",
        attention="simplified",
        recipes=("zero_query", "identity_value"),
        parallel=True,
        residual="none",
        sites=PRE_LN.sites | SAS_GAINS,
        differs="Learned positions; the first gain 0.1 is the authors' for 18 blocks, O(1/√L).",
        pitfalls="Without the norm the authors saw values that were not finite in fine-tuning.",
    )
)
SKIPPING = PRE_LN.derive("value_skip_feed_forward", attention="skipping_value", recipes=("orthogonal_value",))
SKIPPING_ATTENTION = SKIPPING.derive("value_skip_attention", residual="none")


def value_skip(place: Place) -> Variant:
    """Return the variant at a place of Value-SkipInit: attention has no skip."""
    return SKIPPING_ATTENTION if place.role is Role.ATTENTION else SKIPPING


register(
    SKIPPING.derive(
        "value_skip_init",
        parent="pre_ln",
        title="Value-SkipInit",
        formula="z = W·(α·I + β·A)·V·LN(x), α = 1, β = 0, without a skip; z + FeedForward(LN(z))",
        source="He et al. 2023, arXiv:2302.10322, and arXiv:2311.01906",
        by_place=value_skip,
        differs="The feed-forward skip and the norms stay, as in the comparison of arXiv:2311.01906.",
    )
)
