"""Residuals with several streams side by side."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lightning_modules.errors import ConfigurationError
from lightning_modules.network.parts import residual
from lightning_modules.network.sublayer import Branch, Residual
from lightning_modules.schemes.norms import LayerNorm, PlainRmsNorm
from lightning_modules.schemes.place import Place
from lightning_modules.schemes.placements import POST_LN, PRE_LN
from lightning_modules.schemes.variants import FINAL, INPUT, NORM, POST, register, use

Pair = tuple[Tensor, Tensor]


@residual("hyper_connections")
class HyperConnections(Residual):
    """n copies H of the stream, ``(B, T, n, D)`` (Zhu et al. 2024, arXiv:2409.19606, equations 1 to 5)::

        h = A_mᵀ·H,   H ← A_rᵀ·H + Bᵀ·F(h);   A_m = e_(k mod n) in sublayer k, A_r = I, B = 1

    which is the identity residual at the start. The head sees the sum of the streams.
    """

    def __init__(self, place: Place, streams: int = 4) -> None:
        super().__init__(place)
        if streams < 1:
            raise ConfigurationError(f"streams is {streams}; it must be at least 1")
        self.streams = streams
        self.read = nn.Parameter(torch.eye(streams)[place.index % streams].clone())
        self.mix = nn.Parameter(torch.eye(streams))
        self.write = nn.Parameter(torch.ones(streams))

    def open(self, x: Tensor) -> Tensor:
        return x.unsqueeze(-2).repeat(1, 1, self.streams, 1)

    def forward(self, state: Tensor, branch: Branch) -> Tensor:
        read, mix, write = self.weights(state)
        y = branch((read.unsqueeze(-2) @ state).squeeze(-2))
        return mix.mT @ state + write.unsqueeze(-1) * y.unsqueeze(-2)

    def weights(self, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return A_m, A_r and B, with or without dimensions ``(B, T)`` in front."""
        return self.read, self.mix, self.write

    def close(self, state: Tensor, final: Callable[[Tensor], Tensor]) -> Tensor:
        return final(state.sum(-2))


@residual("dynamic_hyper_connections")
class DynamicHyperConnections(HyperConnections):
    """Weights by token (arXiv:2409.19606, equations 10 to 13)::

    A ← s_α·tanh(LN(H)·W) + A for A_m and A_r,   B ← s_β·tanh(LN(H)·w) + B,   W = w = 0,   s_α = s_β = 0.01
    """

    def __init__(self, place: Place, streams: int = 4) -> None:
        super().__init__(place, streams)
        self.norm = LayerNorm(place.width, place)
        self.dynamic = nn.Linear(place.width, streams + 2, bias=False)
        nn.init.zeros_(self.dynamic.weight)
        self.scale_of_a, self.scale_of_b = nn.Parameter(torch.tensor(0.01)), nn.Parameter(torch.tensor(0.01))

    def weights(self, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        read, mix, write = self.dynamic(self.norm(state)).tanh().split([1, self.streams, 1], -1)
        return (
            self.scale_of_a * read.squeeze(-1) + self.read,
            self.scale_of_a * mix + self.mix,
            self.scale_of_b * write.squeeze(-1) + self.write,
        )


@residual("manifold_hyper_connections")
class ManifoldHyperConnections(Residual):
    """mHC: mixing is doubly stochastic, reading and writing are positive (Xie et al. 2025, arXiv:2512.24880)::

        H ← H_res·H + H_postᵀ·F(H_pre·H),   raw = α·(RMSNorm(vec H)·φ) + b
        H_pre = σ(raw),   H_post = 2σ(raw),   H_res = Sinkhorn(exp(raw)), 20 iterations

    α = 0.01. The paper gives no start for φ and b: here φ ~ N(0, 1/(n·D)). b is 0 for reading and writing, and 3 on the
    diagonal of mixing. With 0 there, the streams would be averaged away; with a large number, they would never mix.
    """

    def __init__(self, place: Place, streams: int = 4) -> None:
        super().__init__(place)
        if streams < 1:
            raise ConfigurationError(f"streams is {streams}; it must be at least 1")
        self.streams, inputs = streams, streams * place.width
        self.norm = PlainRmsNorm(inputs, place)
        self.dynamic = nn.Linear(inputs, streams * (streams + 2), bias=False)
        nn.init.normal_(self.dynamic.weight, std=inputs**-0.5)
        self.scales = nn.Parameter(torch.full((3,), 0.01))
        self.bias = nn.Parameter(torch.cat([torch.zeros(2 * streams), 3 * torch.eye(streams).flatten()]))

    def open(self, x: Tensor) -> Tensor:
        return x.unsqueeze(-2).repeat(1, 1, self.streams, 1)

    def forward(self, state: Tensor, branch: Branch) -> Tensor:
        n = self.streams
        sizes = [n, n, n * n]
        raw = self.dynamic(self.norm(state.flatten(-2))).split(sizes, -1)
        read, write, mix = (s * r + b for s, r, b in zip(self.scales, raw, self.bias.split(sizes), strict=True))
        y = branch((read.sigmoid().unsqueeze(-2) @ state).squeeze(-2))
        return sinkhorn(mix.unflatten(-1, (n, n))) @ state + 2 * write.sigmoid().unsqueeze(-1) * y.unsqueeze(-2)

    def close(self, state: Tensor, final: Callable[[Tensor], Tensor]) -> Tensor:
        return final(state.sum(-2))


def sinkhorn(logits: Tensor, iterations: int = 20) -> Tensor:
    """Return exp(``logits``) ``(..., n, n)`` scaled until rows and columns add up to one, in float32 or better.

    Each iteration divides the rows, then the columns, by their sums.
    """
    logs = logits.to(torch.promote_types(logits.dtype, torch.float32))
    for _ in range(iterations):
        logs = logs - logs.logsumexp(-1, keepdim=True)
        logs = logs - logs.logsumexp(-2, keepdim=True)
    return logs.exp().to(logits.dtype)


@residual("frac_connections")
class FracConnections(Residual):
    """The stream's features in m parts instead of n copies of it, H ``(B, T, m, D/m)``.

    Zhu et al. 2025, arXiv:2503.14125, static form::

        H ← Aᵀ·H + B ⊙ parts of F(Yᵀ·H);   Y = A = I, B = 1
    """

    def __init__(self, place: Place, parts: int = 4) -> None:
        super().__init__(place)
        if parts < 1 or place.width % parts:
            raise ConfigurationError(f"parts is {parts}, which does not divide the width {place.width}")
        self.parts = parts
        self.read, self.mix = nn.Parameter(torch.eye(parts)), nn.Parameter(torch.eye(parts))
        self.write = nn.Parameter(torch.ones(parts, 1))

    def forward(self, state: Tensor, branch: Branch) -> Tensor:
        h = state.unflatten(-1, (self.parts, -1))
        y = branch((self.read.mT @ h).flatten(-2)).unflatten(-1, (self.parts, -1))
        return branch.post((self.mix.mT @ h + self.write * y).flatten(-2))


@residual("residual_dual")
class ResiDual(Residual):
    """A Post-LN stream and the plain sum: ``x ← N(x + F(x)), r ← r + F(x)``, ``x + N(r)`` at the end.

    Xie et al. 2023, arXiv:2304.14802.
    """

    def open(self, x: Tensor) -> Pair:
        return x, x

    def forward(self, state: Pair, branch: Branch) -> Pair:
        x, r = state
        y = branch(x)
        return branch.post(branch.skip(x) + y), r + y

    def close(self, state: Pair, final: Callable[[Tensor], Tensor]) -> Tensor:
        return state[0] + final(state[1])


@residual("siamese")
class Siamese(Residual):
    """A Post-LN stream X and a Pre-LN stream Y that share what the sublayer computes (arXiv:2602.08064)::

    X ← post(X),  z = F(X + N(Y)),  X ← X + z/√(2l),  Y ← Y + z      in block l;   X + N(Y) at the end
    """

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.norm = LayerNorm(place.width, place)
        self.scale = 1 / math.sqrt(2 * place.block)

    def open(self, x: Tensor) -> Pair:
        return x, x

    def forward(self, state: Pair, branch: Branch) -> Pair:
        x, y = branch.post(state[0]), state[1]
        z = branch(x + self.norm(y))
        return x + self.scale * z, y + z

    def close(self, state: Pair, final: Callable[[Tensor], Tensor]) -> Tensor:
        return state[0] + final(state[1])


HC_PITFALL = "The final norm sees a sum of n streams. x-transformers starts elsewhere, not at Pre-LN."
register(
    PRE_LN.derive(
        "hyper_connections",
        title="Hyper-connections (static)",
        formula="H ← A_rᵀ·H + Bᵀ·F(LN(A_mᵀ·H)), 4 streams",
        source="Zhu et al. 2024, arXiv:2409.19606, equations 1 to 5",
        residual=use("hyper_connections", streams=4),
        pitfalls=HC_PITFALL
        + " The paper also starts output matrices √n times as large: add the recipe root_of_streams.",
        tune="streams",
    )
)
register(
    PRE_LN.derive(
        "dynamic_hyper_connections",
        title="Hyper-connections (dynamic)",
        formula="H ← A_rᵀ·H + Bᵀ·F(LN(A_mᵀ·H)), 4 streams, A and B by token",
        source="Zhu et al. 2024, arXiv:2409.19606",
        residual=use("dynamic_hyper_connections", streams=4),
        pitfalls=HC_PITFALL + " One stream is worse than none.",
        tune="streams",
    )
)
register(
    PRE_LN.derive(
        "mhc",
        title="mHC",
        formula="H ← H_res·H + H_postᵀ·F(RMS(H_pre·H)), H_res doubly stochastic, 4 streams",
        source="Xie et al. 2025, arXiv:2512.24880",
        norm="rms_norm",
        residual=use("manifold_hyper_connections", streams=4),
        unverified="the start of φ and b, which the paper does not give",
        differs="Learned positions, biases and ReLU instead of rotary positions, SwiGLU and experts.",
        published={"positions": "rotary", "activation": "swiglu", "biases": False},
        published_lacks="experts in place of one feed-forward network",
        pitfalls="With b = 0 the streams are averaged away at step 0; one port starts H_res at I without any gradient.",
        tune="streams",
    )
)
register(
    PRE_LN.derive(
        "frac_connections",
        title="Frac-connections (static)",
        formula="H ← Aᵀ·H + B ⊙ F(LN(Yᵀ·H)), H the stream in 4 parts",
        source="Zhu et al. 2025, arXiv:2503.14125",
        residual=use("frac_connections", parts=4),
        pitfalls="The dynamic form is open: the shape of its weights and its norm are not clear.",
        tune="parts",
    )
)
register(
    POST_LN.derive(
        "resi_dual",
        title="ResiDual",
        formula="x ← LN(x + F(x)), r ← r + F(x); x + LN(r) at the end",
        source="Xie et al. 2023, arXiv:2304.14802",
        residual="residual_dual",
        sites=POST_LN.sites | {FINAL: NORM},
        pitfalls="x-transformers documents a flag for it that its code lacks.",
    )
)
register(
    PRE_LN.derive(
        "siamese",
        title="SiameseNorm",
        formula="X ← LN(X), z = F(LN(X + LN(Y))), X ← X + z/√(2l), Y ← Y + z; X + LN(Y) at the end",
        source="Li et al. 2026, arXiv:2602.08064, the authors' DeiT",
        residual="siamese",
        sites={INPUT: NORM, POST: NORM, FINAL: NORM},
        unverified="a review has 1/√(l + 1) and X normalised after the sum; l and the place here are the DeiT code's",
    )
)
