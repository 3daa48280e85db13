"""Norms whose gain depends on the token, and norms that treat gradients in another way."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.network.parts import op
from lightning_modules.network.sites import Norm
from lightning_modules.schemes.norms import LayerNorm, RmsNorm
from lightning_modules.schemes.place import Place
from lightning_modules.schemes.placements import PRE_LN
from lightning_modules.schemes.variants import register, use


@op("detach_norm")
class DetachNorm(Norm):
    """``y = (x - sg(μ))/sg(σ)``: LayerNorm-simple whose mean and deviation carry no gradient.

    Xu et al. 2019, arXiv:1911.07013; sg stops the gradient.
    """

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(-1, keepdim=True).detach()
        variance = x.var(-1, correction=0, keepdim=True).detach()
        return (x - mean) * torch.rsqrt(variance + LayerNorm.epsilon)


@op("ada_norm")
class AdaNorm(Norm):
    """``z = C·(1 - k·sg(y)) ⊙ y``, y = (x - μ)/σ, k = 1/10 (Xu et al. 2019, arXiv:1911.07013).

    The factor sg(1 - k·y) carries no gradient. C is 1 in the authors' command and 2 in their code's default.
    """

    def __init__(self, width: int, place: Place, scale: float = 1.0, share: float = 0.1) -> None:
        super().__init__(width, place)
        self.scale, self.share = scale, share

    def forward(self, x: Tensor) -> Tensor:
        y = F.layer_norm(x, (self.width,), eps=LayerNorm.epsilon)
        return self.scale * (1 - self.share * y).detach() * y


@op("seed_norm")
class SeedNorm(Norm):
    """SeeDNorm: ``y = (tanh(⟨x, β⟩)·α + γ) ⊙ x/RMS(x)``, β = 0, α = γ = 1 (Cai et al. 2025, arXiv:2510.22777)."""

    def __init__(self, width: int, place: Place) -> None:
        super().__init__(width, place)
        self.direction = nn.Parameter(torch.zeros(width))
        self.response = nn.Parameter(torch.ones(width))
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        strength = (x * self.direction).sum(-1, keepdim=True).tanh()
        return (strength * self.response + self.gain) * F.rms_norm(x, (self.width,), eps=RmsNorm.epsilon)


@op("gated_norm")
class GatedNorm(RmsNorm):
    """``z = σ(W_up·swish(W_down·y)) ⊙ y``, y = RMSNorm(x), rank 16, W_up = 0 (Qiu et al. 2026, arXiv:2601.22966)."""

    def __init__(self, width: int, place: Place, rank: int = 16) -> None:
        super().__init__(width, place)
        self.down, self.up = nn.Linear(width, rank, bias=False), nn.Linear(rank, width, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return self.up(F.silu(self.down(y))).sigmoid() * y


@op("pre_affine_rms_norm")
class PreAffineRmsNorm(RmsNorm):
    """``y = γ ⊙ RMSNorm(λ ⊙ x)``, λ = γ = 1 (Qiu et al. 2026, arXiv:2601.22966)."""

    def __init__(self, width: int, place: Place) -> None:
        super().__init__(width, place)
        self.before = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.before * x)


register(
    PRE_LN.derive(
        "detach_norm",
        title="DetachNorm",
        formula="x + F(N(x)), N(x) = (x - sg(μ))/sg(σ)",
        source="Xu et al. 2019, arXiv:1911.07013",
        norm="detach_norm",
        pitfalls="Forward it is LayerNorm-simple. Its worse training shows what the gradient of μ and σ does.",
    )
)
register(
    PRE_LN.derive(
        "ada_norm",
        title="AdaNorm",
        formula="x + F(N(x)), N(x) = C·sg(1 - y/10) ⊙ y, y = (x - μ)/σ",
        source="Xu et al. 2019, arXiv:1911.07013",
        norm=use("ada_norm", scale=1.0, share=0.1),
        pitfalls="The authors' code takes the unbiased deviation, adds ε outside the root, and keeps unused gains.",
        tune="scale",
    )
)
register(
    PRE_LN.derive(
        "seed_norm",
        title="SeeDNorm",
        formula="x + F(N(x)), N(x) = (tanh(⟨x, β⟩)·α + γ) ⊙ x/RMS(x)",
        source="Cai et al. 2025, arXiv:2510.22777, through a review and a port to Megatron-LM",
        norm="seed_norm",
        pitfalls="The paper has a form by heads and dropout on the dynamic part, and lets α and β decay; not here.",
    )
)
register(
    PRE_LN.derive(
        "gated_norm",
        title="GatedNorm",
        formula="x + F(N(x)), N(x) = σ(W_up·swish(W_down·y)) ⊙ y, y = RMSNorm(x)",
        source="Qiu et al. 2026, arXiv:2601.22966, through the notes of BlaGPT",
        norm=use("gated_norm", rank=16),
        unverified="the paper was not read: the start W_up = 0 is BlaGPT's, so that gates open at ½",
        tune="rank",
    )
)
register(
    PRE_LN.derive(
        "pre_affine_rms_norm",
        title="PreAffineRMSNorm",
        formula="x + F(N(x)), N(x) = γ ⊙ RMSNorm(λ ⊙ x)",
        source="Qiu et al. 2026, arXiv:2601.22966, through the notes of BlaGPT",
        norm="pre_affine_rms_norm",
        unverified="the paper was not read; the formula is that of BlaGPT's notes",
    )
)
