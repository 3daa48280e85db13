"""Norms of a token's own features, and the variants that differ in their norm alone.

To add one, subclass :class:`~lightning_modules.network.sites.Norm`, name it with ``@op``, and register a variant.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.errors import ConfigurationError
from lightning_modules.network.parts import op
from lightning_modules.network.sites import Norm
from lightning_modules.schemes.place import Place
from lightning_modules.schemes.placements import ARTICLE, POST_LN, PRE_LN
from lightning_modules.schemes.variants import PADDING, TIME, TOKENS, register, use


@op("layer_norm")
class LayerNorm(Norm):
    """Layer normalisation over the last axis (Ba et al. 2016, arXiv:1607.06450).

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
    batch is padded, and each token's output depends on all other tokens. It is here to show what that does.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` of shape ``(B, T, width)`` over its tokens."""
        centred = x - x.mean(dim=1, keepdim=True)
        variance = centred.square().mean(dim=1, keepdim=True)
        return self.gain * centred * torch.rsqrt(variance + self.epsilon) + self.bias


@op("layer_norm_without_bias")
class LayerNormWithoutBias(Norm):
    """``y = gain ⊙ (x - mean)/√(variance + ε)``: arXiv:1607.06450 without its bias, as in Cohere's models."""

    def __init__(self, width: int, place: Place) -> None:
        super().__init__(width, place)
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, (self.width,), self.gain, None, LayerNorm.epsilon)


@op("layer_norm_simple")
class LayerNormSimple(Norm):
    """``y = (x - mean)/√(variance + ε)``, without gain and bias (Xu et al. 2019, arXiv:1911.07013)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, (self.width,), eps=LayerNorm.epsilon)


@op("rms_norm")
class RmsNorm(Norm):
    """``y = gain ⊙ x/√(mean(x²) + ε)``, ε = 1e-5 (Zhang & Sennrich 2019, arXiv:1910.07467)."""

    epsilon = 1e-5

    def __init__(self, width: int, place: Place) -> None:
        super().__init__(width, place)
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (self.width,), self.gain, self.epsilon)


@op("unit_offset_rms_norm")
class UnitOffsetRmsNorm(RmsNorm):
    """``y = (1 + w) ⊙ x/√(mean(x²) + ε)``, w = 0: the same function, another point for weight decay to pull to."""

    def __init__(self, width: int, place: Place) -> None:
        super().__init__(width, place)
        nn.init.zeros_(self.gain)

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (self.width,), 1 + self.gain, self.epsilon)


@op("plain_rms_norm")
class PlainRmsNorm(Norm):
    """``y = x/√(mean(x²) + ε)``, without a gain."""

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (self.width,), eps=RmsNorm.epsilon)


@op("partial_rms_norm")
class PartialRmsNorm(RmsNorm):
    """pRMSNorm: the mean square of the first ⌈p·D⌉ features normalises all of them (arXiv:1910.07467)."""

    def __init__(self, width: int, place: Place, share: float = 0.0625) -> None:
        super().__init__(width, place)
        if not 0 < share <= 1:
            raise ConfigurationError(f"share is {share}; it must be above 0 and at most 1")
        self.measured = math.ceil(share * width)

    def forward(self, x: Tensor) -> Tensor:
        square = x[..., : self.measured].square().mean(-1, keepdim=True)
        return self.gain * x * torch.rsqrt(square + self.epsilon)


@op("centred_rms_norm")
class CentredRmsNorm(RmsNorm):
    """CRMSNorm: RMSNorm of a vector of mean zero of which all features but the last are stored (arXiv:2305.14858)::

        y = gain ⊙ x/√((Σ x² + (Σ x)²)/(D + 1) + ε)

    The last feature is ``-Σ x``, so that x represents D + 1 features.
    """

    def forward(self, x: Tensor) -> Tensor:
        squares = x.square().sum(-1, keepdim=True) + x.sum(-1, keepdim=True).square()
        return self.gain * x * torch.rsqrt(squares / (self.width + 1) + self.epsilon)


@op("simple_rms_norm")
class SimpleRmsNorm(Norm):
    """``y = √D·x/‖x‖₂`` (Qin et al. 2023, arXiv:2307.14995, equation 8)."""

    def forward(self, x: Tensor) -> Tensor:
        return math.sqrt(self.width) * F.normalize(x, dim=-1)


@op("scale_norm")
class ScaleNorm(Norm):
    """``y = g·x/max(‖x‖₂, 1e-5)``, one scalar g = √D (Nguyen & Salazar 2019, arXiv:1910.05895)."""

    def __init__(self, width: int, place: Place) -> None:
        super().__init__(width, place)
        self.gain = nn.Parameter(torch.tensor(math.sqrt(width)))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * F.normalize(x, dim=-1, eps=1e-5)


@op("l2_norm")
class L2Norm(Norm):
    """``y = x/‖x‖₂``."""

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1)


@op("group_norm")
class GroupNorm(Norm):
    """Layer normalisation of each of several groups of a token's features (Wu & He 2018, arXiv:1803.08494).

    Statistics never run over tokens, so nothing leaks from one to another.
    """

    def __init__(self, width: int, place: Place, groups: int = 4) -> None:
        super().__init__(width, place)
        if groups < 1 or width % groups:
            raise ConfigurationError(f"groups is {groups}, which does not divide the width {width}")
        self.groups = groups
        self.gain = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        groups = x.unflatten(-1, (self.groups, -1))
        normed = F.layer_norm(groups, groups.shape[-1:], eps=LayerNorm.epsilon)
        return self.gain * normed.flatten(-2) + self.bias


register(
    POST_LN.derive(
        "article_layer_norm_dim1",
        title="Article's norm (dim=1)",
        formula="N(x + F(x)), N over the tokens of a row, padding included",
        source=f"the layer normalisation of the code in {ARTICLE}, which normalises dim=1",
        norm="layer_norm_over_tokens",
        mixes=frozenset({TIME, PADDING}),
        pitfalls="A row's answer depends on its neighbours' length; a causal model sees the future.",
    )
)
register(
    PRE_LN.derive(
        "layer_norm_no_bias",
        title="LayerNorm without bias",
        formula="x + F(N(x)), N(x) = γ ⊙ (x - μ)/σ",
        source="Cohere's Command models in transformers; Ba et al. 2016, arXiv:1607.06450, without the bias",
        norm="layer_norm_without_bias",
    )
)
register(
    PRE_LN.derive(
        "layer_norm_simple",
        title="LayerNorm-simple",
        formula="x + F(N(x)), N(x) = (x - μ)/σ",
        source="Xu et al. 2019, arXiv:1911.07013",
        norm="layer_norm_simple",
        pitfalls="The authors' code takes the unbiased deviation, adds ε outside the root, and keeps unused gains.",
    )
)
register(
    PRE_LN.derive(
        "rms_norm",
        title="RMSNorm",
        formula="x + F(N(x)), N(x) = γ ⊙ x/RMS(x)",
        source="Zhang & Sennrich 2019, arXiv:1910.07467",
        norm="rms_norm",
        pitfalls="Weight decay pulls γ to 0, so norms never decay here. The authors add ε = 1e-8 to the root.",
    )
)
register(
    PRE_LN.derive(
        "rms_norm_unit_offset",
        title="RMSNorm, unit offset",
        formula="x + F(N(x)), N(x) = (1 + w) ⊙ x/RMS(x), w = 0",
        source="Gemma, and options of litgpt, x-transformers and Megatron-LM; arXiv:1910.07467",
        norm="unit_offset_rms_norm",
        pitfalls="It differs from RMSNorm only where w decays, which no norm does here.",
    )
)
register(
    PRE_LN.derive(
        "rms_norm_plain",
        title="RMSNorm without gain",
        formula="x + F(N(x)), N(x) = x/RMS(x)",
        source="modded-nanogpt and nanochat; arXiv:1910.07467",
        norm="plain_rms_norm",
    )
)
register(
    PRE_LN.derive(
        "partial_rms_norm",
        title="pRMSNorm",
        formula="x + F(N(x)), N(x) = γ ⊙ x/RMS(first p·D features)",
        source="Zhang & Sennrich 2019, arXiv:1910.07467, table 2 for p",
        norm=use("partial_rms_norm", share=0.0625),
        pitfalls="At small widths p = 6.25 % measures few features: 4 of 64.",
        tune="share",
    )
)
register(
    PRE_LN.derive(
        "centred_rms_norm",
        title="Pre-CRMSNorm",
        formula="x + F(N(x)), N(x) = γ ⊙ x/√((Σx² + (Σx)²)/(D + 1))",
        source="Jiang et al. 2023, arXiv:2305.14858, section 3.2, equation 5",
        norm="centred_rms_norm",
        differs="The stream of width D means D + 1 features of mean zero. Embeddings are not re-centred.",
    )
)
register(
    PRE_LN.derive(
        "simple_rms_norm",
        title="SimpleRMSNorm",
        formula="x + F(N(x)), N(x) = √D·x/‖x‖",
        source="Qin et al. 2023, arXiv:2307.14995, equation 8",
        norm="simple_rms_norm",
    )
)
register(
    PRE_LN.derive(
        "scale_norm",
        title="ScaleNorm",
        formula="x + F(N(x)), N(x) = g·x/‖x‖, scalar g = √D",
        source="Nguyen & Salazar 2019, arXiv:1910.05895, section 2.3",
        norm="scale_norm",
        pitfalls="g starts at √D; GPT-NeoX had 1, which makes activations √D times as small.",
    )
)
register(
    PRE_LN.derive(
        "fix_norm",
        title="FixNorm + ScaleNorm",
        formula="embeddings √D·E/‖E‖; x + F(g·x/‖x‖); attention starts N(0, 2/(5D))",
        source="Nguyen & Chiang 2018, arXiv:1710.01329; Nguyen & Salazar 2019, arXiv:1910.05895, sections 2.2 and 2.3",
        norm="scale_norm",
        sites=PRE_LN.sites | {TOKENS: "simple_rms_norm"},
        recipes=("small_init",),
        differs="Fixed are the input embeddings; the published output embedding is tied to them.",
    )
)
register(
    PRE_LN.derive(
        "l2_norm",
        title="L2Norm",
        formula="x + F(N(x)), N(x) = x/‖x‖",
        source="an option of OLMo-core, without a paper of its own",
        norm="l2_norm",
        pitfalls="Inputs of F are √D times as small as under RMSNorm. Megatron's class L2Norm is an RMSNorm.",
    )
)
register(
    PRE_LN.derive(
        "group_norm",
        title="GroupNorm",
        formula="x + F(N(x)), N over each of 4 groups of a token's features",
        source="Wu & He 2018, arXiv:1803.08494",
        norm=use("group_norm", groups=4),
        pitfalls="Over time as well, as in vision, it would leak later tokens; here it stays within a token.",
        tune="groups",
    )
)
register(
    PRE_LN.derive(
        "pre_rms_norm",
        title="Pre-RMSNorm",
        formula="x + F - mean(F), F = F(γ ⊙ x/RMS(x)), from centred embeddings",
        source="Jiang et al. 2023, arXiv:2305.14858, section 3.1",
        norm="rms_norm",
        residual="zero_mean",
        pitfalls="Equal to Pre-LN without bias as a function. The paper centres weights, this outputs.",
    )
)
