"""Functions of each element that take the place of a norm: DyT, Derf and their kin, and the bounded tanh of BHyT."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lightning_modules.errors import reject_unknown
from lightning_modules.network.attention import SelfAttention
from lightning_modules.network.context import Context
from lightning_modules.network.parts import attention, op
from lightning_modules.network.sites import Norm
from lightning_modules.schemes.place import Place, Role
from lightning_modules.schemes.placements import PRE_LN
from lightning_modules.schemes.variants import FINAL, TOKENS, Variant, register, use


@op("dynamic_tanh")
class DynamicTanh(Norm):
    """DyT: ``y = γ ⊙ tanh(α·x) + β``, scalar α = ½, γ = 1, β = 0 (Zhu et al. 2025, arXiv:2503.10622).

    If ``alpha_attention`` is positive, α starts there before attention.
    """

    def __init__(self, width: int, place: Place, alpha: float = 0.5, alpha_attention: float = 0.0) -> None:
        super().__init__(width, place)
        own = alpha_attention if alpha_attention > 0 and place.role is Role.ATTENTION else alpha
        self.alpha = nn.Parameter(torch.tensor(float(own)))
        self.gain = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * (self.alpha * x).tanh() + self.bias


@op("dynamic_tanh_without_bias")
class DynamicTanhWithoutBias(DynamicTanh):
    """``y = γ ⊙ tanh(α·x)``, as in the authors' LLaMA (arXiv:2503.10622, sections 5 and 7)."""

    def __init__(self, width: int, place: Place, alpha: float = 0.5, alpha_attention: float = 0.0) -> None:
        super().__init__(width, place, alpha, alpha_attention)
        self.register_parameter("bias", None)

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * (self.alpha * x).tanh()


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "erf": torch.erf,
    "isru": lambda z: z / (z.square() + 1).sqrt(),
    "expsign": lambda z: z.sign() * (1 - (-z.abs()).exp()),
    "exproot": lambda z: z.sign() * (1 - (-z.abs().sqrt()).exp()),
    "arctan": lambda z: 2 / math.pi * z.atan(),
    "satursin": lambda z: z.clamp(-math.pi / 2, math.pi / 2).sin(),
    "saturlog": lambda z: z.sign() * z.abs().log1p() / (z.abs().log1p() + 1),
    "smoothsign": lambda z: z / (1 + z.abs()),
    "relsign": lambda z: z / ((z.square() + 1).sqrt() + 1),
    "cubsign": lambda z: z**3 / (z.abs() ** 3 + 1),
    "linear_clip": lambda z: z.clamp(-1, 1),
    "logsign_clip": lambda z: (z.sign() * z.abs().log1p()).clamp(-1, 1),
    "logquad_clip": lambda z: (z.sign() * z.square().log1p()).clamp(-1, 1),
    "power23_clip": lambda z: (z.sign() * z.abs() ** (2 / 3)).clamp(-1, 1),
}
"""Point-wise functions of the authors' repository of arXiv:2512.10938 (``ViT/other_functions``), by its names."""


@op("point_wise")
class PointWise(Norm):
    """``y = γ ⊙ f(α·x + s) + β``, scalars α = ½ and s = 0, γ = 1, β = 0.

    Chen et al. 2025, arXiv:2512.10938. With f = erf it is Derf; :data:`FUNCTIONS` has the others.
    """

    def __init__(self, width: int, place: Place, function: str = "erf", alpha: float = 0.5) -> None:
        super().__init__(width, place)
        reject_unknown("function", function, FUNCTIONS)
        self.function = FUNCTIONS[function]
        self.alpha, self.shift = nn.Parameter(torch.tensor(float(alpha))), nn.Parameter(torch.zeros(()))
        self.gain = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * self.function(self.alpha * x + self.shift) + self.bias


@op("bounded_tanh")
class BoundedTanh(Norm):
    """BHyT*: ``y = γ ⊙ tanh(λ·x/(κ·√(mean(x²) + 1e-6)))``, κ = 10, scalar λ = 2, γ = 1.

    Byun et al. 2026, arXiv:2601.09719, the authors' class ``BHyT_Star``.
    """

    uses_context = True
    epsilon = 1e-6

    def __init__(self, width: int, place: Place, rate: float = 2.0, kappa: float = 10.0) -> None:
        super().__init__(width, place)
        self.kappa = kappa
        self.rate = nn.Parameter(torch.tensor(float(rate)))
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        square = self.mean_square(x, context)
        return self.gain * (self.rate * x * torch.rsqrt(square + self.epsilon) / self.kappa).tanh()

    def mean_square(self, x: Tensor, context: Context) -> Tensor:
        """Return the mean square of each token, ``(B, T, 1)``."""
        return x.square().mean(-1, keepdim=True)


@op("measuring_bounded_tanh")
class MeasuringBoundedTanh(BoundedTanh):
    """The first norm of a block of BHyT, which leaves its mean square and (λ/κ)² to the second one."""

    def mean_square(self, x: Tensor, context: Context) -> Tensor:
        square = super().mean_square(x, context)
        context.shared["mean_square"] = square
        context.shared["squared_rate"] = (self.rate.detach() / self.kappa).square()
        return square


@op("estimating_bounded_tanh")
class EstimatingBoundedTanh(BoundedTanh):
    """The second norm of a block of BHyT, which does not measure::

        mean square ≈ first norm's + c·λ²/κ²,   c = ‖W_V·W_O‖²_F/(T·D)

    with the first norm's λ, without gradient through c and λ, and T the configured length of a row.
    """

    def mean_square(self, x: Tensor, context: Context) -> Tensor:
        return context.recall("mean_square") + context.recall("attention_gain") * context.recall("squared_rate")


@attention("measured")
class MeasuredAttention(SelfAttention):
    """Self-attention that shares ``‖W_V·W_O‖²_F/(T·D)``, T being ``length``, for BHyT's second norm."""

    def __init__(self, variant: Variant, place: Place, length: int = 512) -> None:
        super().__init__(variant, place)
        self.values = length * place.width

    def mix(self, query: Tensor, key: Tensor, value: Tensor, context: Context) -> Tensor:
        matrices = self.matrices()
        with torch.no_grad():
            product = matrices["attention_output"] @ matrices["attention_value"]
            context.shared["attention_gain"] = product.square().sum() / self.values
        return super().mix(query, key, value, context)


register(
    PRE_LN.derive(
        "dyt",
        title="DyT",
        formula="x + F(N(x)), N(x) = γ ⊙ tanh(α·x) + β, α = ½",
        source="Zhu et al. 2025, arXiv:2503.10622",
        norm=use("dynamic_tanh", alpha=0.5),
        pitfalls="The start of α decides; wider networks want less. The authors' LLaMA configuration defaults to 1.0, "
        "against its own README.",
        tune="alpha",
    )
)
register(
    PRE_LN.derive(
        "dyt_llama",
        title="DyT, LLaMA's recipe",
        formula="x + F(γ ⊙ tanh(α·x)), α = 0.8 before attention, 0.2 elsewhere; embeddings × √D",
        source="Zhu et al. 2025, arXiv:2503.10622, sections 5 and 7, and the authors' LLaMA recipe for 7B",
        norm=use("dynamic_tanh_without_bias", alpha=0.2, alpha_attention=0.8),
        sites=PRE_LN.sites | {TOKENS: "root_of_width_gain"},
        differs="Learned positions, biases and ReLU instead of rotary positions and SwiGLU.",
        published={"positions": "rotary", "activation": "swiglu", "biases": False},
        tune="alpha, alpha_attention",
    )
)
register(
    PRE_LN.derive(
        "derf",
        title="Derf",
        formula="x + F(N(x)), N(x) = γ ⊙ erf(α·x + s) + β, α = ½",
        source="Chen et al. 2025, arXiv:2512.10938",
        norm=use("point_wise", function="erf", alpha=0.5),
        pitfalls="Its gap to RMSNorm grows from 0.31 to 0.97 nats with Muon (arXiv:2604.01563).",
        tune="alpha",
    )
)
register(
    PRE_LN.derive(
        "point_wise",
        title="Point-wise functions",
        formula="x + F(N(x)), N(x) = γ ⊙ f(α·x + s) + β, one of 14 functions f",
        source="Chen et al. 2025, arXiv:2512.10938, and the authors' folder other_functions",
        norm=use("point_wise", function="arctan", alpha=0.5),
        pitfalls="The slope of exproot and power23_clip is infinite at 0.",
        tune="function, alpha",
    )
)
register(
    PRE_LN.derive(
        "bhyt_star",
        title="BHyT*",
        formula="x + F(N(x)), N(x) = γ ⊙ tanh(λ·x/(κ·RMS(x))), λ = 2, κ = 10",
        source="Byun et al. 2026, arXiv:2601.09719, the authors' class BHyT_Star",
        norm=use("bounded_tanh", rate=2.0, kappa=10.0),
        differs="The final norm is a BHyT* as well; learned positions, biases and ReLU instead of rotary and SwiGLU.",
        published={"positions": "rotary", "activation": "swiglu", "biases": False},
        published_lacks="its final norm, which is a BHyT* here",
        pitfalls="λ/κ = 0.2, so it is nearly 0.2·RMSNorm. The authors' learnable_lam=False trains λ all the same.",
        tune="rate",
    )
)
register(
    PRE_LN.derive(
        "bhyt",
        title="BHyT",
        formula="x + F(γ ⊙ tanh(λ·x/(κ·√v))), v measured before attention, estimated before feed-forward",
        source="Byun et al. 2026, arXiv:2601.09719, the authors' class BHyT and its variance estimate",
        norm=use("bounded_tanh", rate=2.0, kappa=10.0),
        sites={
            "attention.input": use("measuring_bounded_tanh", rate=2.0, kappa=10.0),
            "feed_forward.input": use("estimating_bounded_tanh", rate=2.0, kappa=10.0),
            FINAL: use("bounded_tanh", rate=2.0, kappa=10.0),
        },
        attention=use("measured", length=512),
        differs="The final norm is a BHyT*; learned positions, biases and ReLU instead of rotary and SwiGLU.",
        published={"positions": "rotary", "activation": "swiglu", "biases": False},
        published_lacks="its final norm, which is a BHyT* here",
        pitfalls="The estimate holds the configured length of a row, so set `length` to it.",
        tune="rate, length",
    )
)
