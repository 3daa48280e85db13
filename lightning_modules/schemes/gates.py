"""Residuals that gate, weigh or project what they add to one stream."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.network.parts import residual
from lightning_modules.network.sublayer import Branch, Residual
from lightning_modules.schemes.place import Place
from lightning_modules.schemes.placements import NO_NORM, PRE_LN
from lightning_modules.schemes.variants import TIME, register, use


@residual("shared_gain")
class SharedGain(Residual):
    """``x ← x + α·F(x)``, α = 0, one α for the sublayers of a block (the code of arXiv:2003.04887, class RZTX)."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.gain = nn.Parameter(torch.zeros(()))

    def meet(self, earlier: Sequence[Residual]) -> None:
        if earlier:
            first = earlier[0]
            assert isinstance(first, SharedGain), "sublayers of a block have one scheme"
            self.gain = first.gain

    def forward(self, state: Tensor, branch: Branch) -> Tensor:
        return branch.post(branch.skip(state) + self.gain * branch(state))


@residual("highway")
class Highway(Residual):
    """``x ← (1 - g) ⊙ x + g ⊙ F(x)``, g = σ(W·x + b), b = -2 (Srivastava et al. 2015, arXiv:1505.00387)."""

    def __init__(self, place: Place, bias: float = -2.0) -> None:
        super().__init__(place)
        self.gate = nn.Linear(place.width, place.width)
        nn.init.constant_(self.gate.bias, bias)

    def forward(self, state: Tensor, branch: Branch) -> Tensor:
        g = self.gate(state).sigmoid()
        return branch.post((1 - g) * state + g * branch(state))


@residual("gru_gate")
class GruGate(Residual):
    """A gated recurrent unit in place of the sum (Parisotto et al. 2019, arXiv:1910.06764, equation 14)::

    y = ReLU(F(x)),  r = σ(W_r·y + U_r·x),  z = σ(W_z·y + U_z·x - b),  b = 2
    x ← (1 - z) ⊙ x + z ⊙ tanh(W_g·y + U_g·(r ⊙ x))
    """

    def __init__(self, place: Place, bias: float = 2.0) -> None:
        super().__init__(place)
        width = place.width
        self.of_update = nn.Linear(width, 3 * width, bias=False)
        self.of_stream = nn.Linear(width, 2 * width, bias=False)
        self.of_reset = nn.Linear(width, width, bias=False)
        self.bias = nn.Parameter(torch.full((width,), float(bias)))

    def forward(self, state: Tensor, branch: Branch) -> Tensor:
        of_r, of_z, of_g = self.of_update(branch(state).relu()).chunk(3, -1)
        to_r, to_z = self.of_stream(state).chunk(2, -1)
        r, z = (of_r + to_r).sigmoid(), (of_z + to_z - self.bias).sigmoid()
        return branch.post((1 - z) * state + z * (of_g + self.of_reset(r * state)).tanh())


@residual("gpas")
class Gpas(Residual):
    """``x ← x + F(x)``, then ``x ← x - SiLU(g)·sg(x)``: the forward signal shrinks, its gradient does not.

    Chen et al. 2025, arXiv:2506.22049; g = 0, one per block as in the authors' code.
    """

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.gate = nn.Parameter(torch.zeros(()))

    def meet(self, earlier: Sequence[Residual]) -> None:
        if earlier:
            first = earlier[0]
            assert isinstance(first, Gpas), "sublayers of a block have one scheme"
            self.gate = first.gate

    def forward(self, state: Tensor, branch: Branch) -> Tensor:
        x = branch.skip(state) + branch(state)
        return branch.post(x - F.silu(self.gate) * x.detach())


@residual("laurel_rw")
class LaurelWeights(Residual):
    """``x ← α·F(x) + β·x``, (α, β) = 2·softmax(θ), θ = 0 (Menghani et al. 2024, arXiv:2411.07501, section 2.1)."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.weights = nn.Parameter(torch.zeros(2))

    def forward(self, state: Tensor, branch: Branch) -> Tensor:
        alpha, beta = 2 * self.weights.softmax(0)
        return branch.post(beta * branch.skip(state) + alpha * branch(state))


@residual("laurel_lr")
class LaurelLowRank(Residual):
    """``x ← F(x) + x + B·A·x`` with rank r, B = 0 (Menghani et al. 2024, arXiv:2411.07501, section 2.2)."""

    def __init__(self, place: Place, rank: int = 16) -> None:
        super().__init__(place)
        self.down = nn.Linear(place.width, rank, bias=False)
        self.up = nn.Linear(rank, place.width, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, state: Tensor, branch: Branch) -> Tensor:
        return branch.post(branch.skip(state) + self.up(self.down(state)) + branch(state))


@residual("zero_mean")
class ZeroMean(Residual):
    """``x ← x + F(x) - mean(F(x))`` from centred embeddings: LayerNorm and RMSNorm then agree (arXiv:2305.14858)."""

    def open(self, x: Tensor) -> Tensor:
        return x - x.mean(-1, keepdim=True)

    def forward(self, state: Tensor, branch: Branch) -> Tensor:
        y = branch(state)
        return branch.post(branch.skip(state) + y - y.mean(-1, keepdim=True))


@residual("orthogonal")
class Orthogonal(Residual):
    """``x ← x + F - (⟨F, x⟩/(‖x‖² + ε))·x``, ε = 1e-6 (Oh et al. 2025, arXiv:2505.11881)."""

    def forward(self, state: Tensor, branch: Branch) -> Tensor:
        y = branch(state)
        share = (y * state).sum(-1, keepdim=True) / (state.square().sum(-1, keepdim=True) + 1e-6)
        return branch.post(branch.skip(state) + y - share * state)


@residual("deep_delta")
class DeepDelta(Residual):
    """``x ← x + β·k·(v - kᵀx)`` (Zhang et al. 2026, arXiv:2601.00417, with values of one feature)::

    k = F/‖F‖,   β = 2σ(w·N(x) + b), b = 0,   v = 4σ(u·x + c)
    """

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.beta, self.value = nn.Linear(place.width, 1), nn.Linear(place.width, 1)
        nn.init.zeros_(self.beta.bias)

    def forward(self, state: Tensor, branch: Branch) -> Tensor:
        normed = branch.input(state)
        k = F.normalize(branch.function(normed), dim=-1)
        beta, v = 2 * self.beta(normed).sigmoid(), 4 * self.value(state).sigmoid()
        return branch.post(branch.skip(state) + beta * k * (v - (k * state).sum(-1, keepdim=True)))


@residual("mean_variance_split")
class MeanVarianceSplit(Residual):
    """``x ← x + β ⊙ (F - F̄) + α ⊙ (F̄ - x̄)``, means over the real tokens of a row, α = 0, β = 0.03.

    Lu 2026, arXiv:2605.06169, in the form of x-transformers.
    """

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.alpha = nn.Parameter(torch.zeros(place.width))
        self.beta = nn.Parameter(torch.full((place.width,), 0.03))

    def forward(self, state: Tensor, branch: Branch) -> Tensor:
        real = branch.context.attention_mask[..., None].to(state.dtype)
        y = branch(state)
        mean_y, mean_x = ((t * real).sum(1, keepdim=True) / real.sum(1, keepdim=True).clamp(min=1) for t in (y, state))
        return branch.post(branch.skip(state) + self.beta * (y - mean_y) + self.alpha * (mean_y - mean_x))


@residual("norm_agnostic")
class NormAgnostic(Residual):
    """NAG: ``x ← x + ρ·α·m·u``, ρ = RMS(x) (Figliolia & Millidge 2026, arXiv:2606.16112)::

        u: the centred update without its part along x, scaled to RMS 1
        m = (Σ_i p_i·σ(w_i·x/ρ + b_i))^β,   p = softmax(θ),   α = 1/√l in sublayer l

    with θ = 0, b = 0, w ~ N(0, 0.02²) and β = 1 at the start.
    """

    def __init__(self, place: Place, directions: int = 32) -> None:
        super().__init__(place)
        self.gates = nn.Linear(place.width, directions)
        nn.init.normal_(self.gates.weight, std=0.02)
        nn.init.zeros_(self.gates.bias)
        self.shares, self.power = nn.Parameter(torch.zeros(directions)), nn.Parameter(torch.ones(()))
        self.rate = nn.Parameter(torch.tensor(1 / math.sqrt(place.index + 1)))
        self.root_of_width = math.sqrt(place.width)

    def forward(self, state: Tensor, branch: Branch) -> Tensor:
        rho = state.square().mean(-1, keepdim=True).sqrt()
        direction, f = state / rho, branch(state)
        f = f - f.mean(-1, keepdim=True)
        f = f - (f * direction).mean(-1, keepdim=True) * direction
        u = self.root_of_width * F.normalize(f, dim=-1)
        m = (self.gates(direction).sigmoid() @ self.shares.softmax(0))[..., None] ** self.power
        return branch.post(branch.skip(state) + rho * self.rate * m * u)


register(
    NO_NORM.derive(
        "rezero_shared",
        title="ReZero, one α per block",
        formula="x + α·F(x), α = 0 at the start, one α for attention and feed-forward",
        source="the code of Bachlechner et al. 2020, arXiv:2003.04887, class RZTXEncoderLayer",
        residual="shared_gain",
        pitfalls="The paper's text has an α per sublayer: that is `rezero`.",
    )
)
register(
    NO_NORM.derive(
        "highway",
        title="Highway",
        formula="(1 - g) ⊙ x + g ⊙ F(x), g = σ(W·x + b), b = -2",
        source="Srivastava et al. 2015, arXiv:1505.00387",
        residual=use("highway", bias=-2.0),
        pitfalls="Two matrices more per block: compare with a wider network as well.",
        tune="bias",
    )
)
register(
    PRE_LN.derive(
        "gtrxl",
        title="GTrXL gate",
        formula="GRU(x, ReLU(F(LN(x)))), update gate biased by -2",
        source="Parisotto et al. 2019, arXiv:1910.06764, section 3.2, equation 14",
        residual=use("gru_gate", bias=2.0),
        pitfalls="It doubles the block: compare with a wider network. x-transformers' gate has no bias b.",
        tune="bias",
    )
)
register(
    PRE_LN.derive(
        "gpas",
        title="GPAS",
        formula="z = x + F(LN(x)), then z - SiLU(g)·sg(z), g = 0",
        source="Chen et al. 2025, arXiv:2506.22049",
        residual="gpas",
        pitfalls="At 7B the authors clip the gate's gradient to 0.01.",
    )
)
register(
    PRE_LN.derive(
        "laurel_rw",
        title="LAuReL-RW",
        formula="α·F(LN(x)) + β·x, (α, β) = 2·softmax(θ)",
        source="Menghani et al. 2024, arXiv:2411.07501, section 2.1",
        residual="laurel_rw",
        unverified="the factor 2: the paper asks for a softmax or sigmoid, whose start would be no identity",
    )
)
register(
    PRE_LN.derive(
        "laurel_lr",
        title="LAuReL-LR",
        formula="F(LN(x)) + x + B·A·x, rank 16, B = 0",
        source="Menghani et al. 2024, arXiv:2411.07501, section 2.2",
        residual=use("laurel_lr", rank=16),
        unverified="the start of A and B (A as nn.Linear draws it, B = 0)",
        pitfalls="fairseq2's LAuReL drops the identity.",
        tune="rank",
    )
)
register(
    PRE_LN.derive(
        "orthogonal",
        title="Orthogonal residual",
        formula="x + F - (⟨F, x⟩/‖x‖²)·x, F = F(LN(x))",
        source="Oh et al. 2025, arXiv:2505.11881",
        residual="orthogonal",
        pitfalls="x-transformers projects over all tokens of a row together, which mixes time and padding.",
    )
)
register(
    PRE_LN.derive(
        "deep_delta",
        title="Deep Delta Learning",
        formula="x + β·k·(v - kᵀx), k = F/‖F‖, F = F(LN(x)), β = 1 where w·LN(x) = 0",
        source="Zhang et al. 2026, arXiv:2601.00417, the authors' class DeepDeltaResidualVdim1",
        residual="deep_delta",
        differs="Learned positions instead of rotary ones; matrices start as configured.",
        published={"positions": "rotary"},
        published_lacks="the authors' start of the matrices",
    )
)
register(
    PRE_LN.derive(
        "mv_split",
        title="MV-Split",
        formula="x + β ⊙ (F - F̄) + α ⊙ (F̄ - x̄), F = F(LN(x)), means over tokens",
        source="Lu 2026, arXiv:2605.06169, through x-transformers",
        residual="mean_variance_split",
        mixes=frozenset({TIME}),
        unverified="the paper was not read; the formula and its start are x-transformers'",
        pitfalls="Means over tokens see the future.",
    )
)
register(
    PRE_LN.derive(
        "nag",
        title="NAG",
        formula="x + ρ·α·m·u, u the update across x with RMS 1, ρ = RMS(x), m a gate",
        source="Figliolia & Millidge 2026, arXiv:2606.16112, through the notes of BlaGPT",
        residual=use("norm_agnostic", directions=32),
        unverified="the starts of p and β, and which of α and β is learned; the paper was not read",
        tune="directions",
    )
)
