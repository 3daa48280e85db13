"""Residuals with a memory of depth: earlier outputs that later blocks see again."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.errors import ConfigurationError
from lightning_modules.network.backbone import Backbone, Recipe
from lightning_modules.network.parts import recipe, residual
from lightning_modules.network.sublayer import Branch, Residual
from lightning_modules.schemes.norms import PlainRmsNorm, RmsNorm
from lightning_modules.schemes.place import Place, Role
from lightning_modules.schemes.placements import POST_LN, PRE_LN
from lightning_modules.schemes.variants import FINAL, NORM, register, use

Past = tuple[Tensor, ...]


def weighted(weights: Tensor, outputs: Past) -> Tensor:
    """Return ``Σ_j weights[j]·outputs[j]``; a loop, since stacking would keep a copy of every output at every depth."""
    total = weights[0] * outputs[0]
    for weight, output in zip(weights[1:], outputs[1:], strict=True):
        total = total + weight * output
    return total


@residual("dense_former")
class DenseFormer(Residual):
    """After block i, ``x ← Σ_{j ≤ i} α_ij·X_j``: X_0 the embeddings, X_j what block j put out, α one-hot on X_i.

    Pagliardini et al. 2024, arXiv:2402.02622. State: X_0 … X_i, and the stream.
    """

    state_grows = True

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.ends_block, self.past = place.ends_block, place.block
        if place.ends_block:
            self.weights = nn.Parameter(torch.eye(place.block + 1)[-1].clone())

    def open(self, x: Tensor) -> tuple[Past, Tensor]:
        return (x,) * self.past, x

    def forward(self, state: tuple[Past, Tensor], branch: Branch) -> tuple[Past, Tensor]:
        past, x = state
        x = super().forward(x, branch)
        if not self.ends_block:
            return past, x
        past = (*past, x)
        return past, weighted(self.weights, past)

    def close(self, state: tuple[Past, Tensor], final: Callable[[Tensor], Tensor]) -> Tensor:
        return final(state[1])


@residual("mudd")
class Mudd(Residual):
    """Query, key, value and residual of a block each mix all earlier block outputs, by token.

    Xiao et al. 2025, arXiv:2502.12170::

        X̄ᶜ = Σ_j Aᶜ_j(X_i)·X_j,   A(X) = W₂·GELU(W₁·RMS(X)) + a,   W₁ ~ N(0, 1/D), W₂ = 0, a one-hot on X_i

    State: block outputs, and the four inputs of what follows. After the last block there is one way, with four times
    the hidden units. Queries, keys and values have a norm each.
    """

    state_grows = True

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.mixes_inputs, self.ends_block, self.past = place.role is Role.ATTENTION, place.ends_block, place.block
        if self.mixes_inputs:
            self.norms = nn.ModuleList(RmsNorm(place.width, place) for _ in range(3))
        if place.ends_block:
            self.ways, outputs = (1 if place.is_last else 4), place.block + 1
            units = self.ways * outputs * (4 if place.is_last else 1)
            self.norm = PlainRmsNorm(place.width, place)
            self.first = nn.Linear(place.width, units, bias=False)
            self.second = nn.Linear(units, self.ways * outputs, bias=False)
            nn.init.normal_(self.first.weight, std=place.width**-0.5)
            nn.init.zeros_(self.second.weight)
            self.start = nn.Parameter(torch.eye(outputs)[-1].repeat(self.ways, 1))

    def open(self, x: Tensor) -> tuple[Past, Past]:
        return (x,) * self.past, (x,) * 4

    def forward(self, state: tuple[Past, Past], branch: Branch) -> tuple[Past, Past]:
        """Take up a sublayer; at a block's end, mix all outputs so far into the next block's four inputs."""
        past, (*inputs, x) = state
        if self.mixes_inputs:
            x = x + branch.function([norm(way) for norm, way in zip(self.norms, inputs, strict=True)])
        else:
            x = x + branch(x)
        if not self.ends_block:
            return past, (x,) * 4
        past = (*past, x)
        hidden = F.gelu(self.first(self.norm(x)))
        weights = self.second(hidden).unflatten(-1, (self.ways, -1)) + self.start  # B, T, ways, outputs
        mixed = [weighted(weights[..., way, :, None].movedim(-2, 0), past) for way in range(self.ways)]
        return past, tuple(mixed) * (4 // self.ways)

    def close(self, state: tuple[Past, Past], final: Callable[[Tensor], Tensor]) -> Tensor:
        return final(state[1][-1])


@residual("attention_residuals")
class AttentionResiduals(Residual):
    """Each sublayer attends over all earlier outputs instead of their sum (Kimi 2026, arXiv:2603.15031)::

        x = Σ_i α_i·v_i,   α = softmax_i(wᵀ·RMSNorm(v_i)),   w = 0;   v_0 = embeddings, v_i = F_i(x_i)

    With ``group`` > 1, the outputs of ``group`` sublayers are added up before they are attended to.
    """

    state_grows = True

    def __init__(self, place: Place, group: int = 1) -> None:
        super().__init__(place)
        if group < 1:
            raise ConfigurationError(f"group is {group}; it must be at least 1")
        self.appends = place.index % group == 0
        self.outputs = place.index // group + 1 + (not self.appends)
        self.query, self.norm = nn.Parameter(torch.zeros(place.width)), RmsNorm(place.width, place)
        if place.is_last:
            self.last_query, self.last_norm = nn.Parameter(torch.zeros(place.width)), RmsNorm(place.width, place)
        self.is_last = place.is_last

    def open(self, x: Tensor) -> Past:
        return (x,) * self.outputs

    def forward(self, state: Past, branch: Branch) -> Past:
        y = branch(attended(state, self.query, self.norm))
        return (*state, y) if self.appends else (*state[:-1], state[-1] + y)

    def close(self, state: Past, final: Callable[[Tensor], Tensor]) -> Tensor:
        last = (self.last_query, self.last_norm) if self.is_last else (self.query, self.norm)
        return final(attended(state, *last))


def attended(outputs: Past, query: Tensor, norm: nn.Module) -> Tensor:
    """Return ``Σ_i softmax_i(query·norm(v_i))·v_i``, the softmax in float32 or better."""
    scores = torch.stack([norm(output) @ query for output in outputs])
    shares = scores.to(torch.promote_types(scores.dtype, torch.float32)).softmax(0).to(scores.dtype)
    return weighted(shares[..., None], outputs)


@residual("bottom_to_top")
class BottomToTop(Residual):
    """Post-LN whose block input is added before the block's last norm.

    Takase et al. 2022, arXiv:2206.00330: ``z = N(x + F₁(x))``, ``x ← N(x + z + F₂(z))``. State: the block's
    input, and the stream.
    """

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.ends_block = place.ends_block
        self.skips = 2 if place.ends_block else 1  # the block's input skips both sublayers

    def open(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x

    def forward(self, state: tuple[Tensor, Tensor], branch: Branch) -> tuple[Tensor, Tensor]:
        bottom, x = state
        z = branch.skip(x) + branch(x)
        if not self.ends_block:
            return bottom, branch.post(z)
        top = branch.post(bottom + z)
        return top, top

    def close(self, state: tuple[Tensor, Tensor], final: Callable[[Tensor], Tensor]) -> Tensor:
        return final(state[1])


@residual("x0_lambdas")
class X0Lambdas(Residual):
    """``x ← λ·x + μ·x₀`` before every block, x₀ the embeddings (nanochat, ``gpt.py``).

    λ starts from 1.15 in the first block to 1.05 in the last, μ from 0.20 to 0.05.
    """

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.starts_block, depth = place.starts_block, (place.block - 1) / max(1, place.blocks - 1)
        if self.starts_block:
            self.stay = nn.Parameter(torch.tensor(1.15 - 0.1 * depth))
            self.back = nn.Parameter(torch.tensor(0.2 - 0.15 * depth))

    def open(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x

    def forward(self, state: tuple[Tensor, Tensor], branch: Branch) -> tuple[Tensor, Tensor]:
        start, x = state
        if self.starts_block:
            x = self.stay * x + self.back * start
        return start, super().forward(x, branch)

    def close(self, state: tuple[Tensor, Tensor], final: Callable[[Tensor], Tensor]) -> Tensor:
        return final(state[1])


@recipe("slow_lambdas")
class SlowLambdas(Recipe):
    """The weight λ of the stream itself learns at a hundredth of the rate (nanochat)."""

    def factors(self, name: str, parameter: nn.Parameter, backbone: Backbone) -> dict[str, float]:
        return {"lr": 0.01} if name.endswith(".stay") else {}


@residual("unet")
class Unet(Residual):
    """Block L + 1 - i receives w times what block i put out (modded-nanogpt).

    The first half of the blocks saves its outputs; the second half receives them, the last saved one first. w is
    learned.
    """

    state_grows = True

    def __init__(self, place: Place, weight: float = 0.25) -> None:
        super().__init__(place)
        half = place.blocks // 2
        self.saves = place.ends_block and place.block <= half
        self.receives = place.starts_block and place.block > place.blocks - half
        self.waiting = min(place.block - 1, half, place.blocks - place.block + 1)
        if self.receives:
            self.weight = nn.Parameter(torch.tensor(float(weight)))

    def open(self, x: Tensor) -> tuple[Past, Tensor]:
        return (x,) * self.waiting, x

    def forward(self, state: tuple[Past, Tensor], branch: Branch) -> tuple[Past, Tensor]:
        saved, x = state
        if self.receives:
            saved, last = saved[:-1], saved[-1]
            x = x + self.weight * last
        x = super().forward(x, branch)
        return ((*saved, x) if self.saves else saved), x

    def close(self, state: tuple[Past, Tensor], final: Callable[[Tensor], Tensor]) -> Tensor:
        return final(state[1])


GROWS = "The state grows with depth: torch.compile translates every block, and gives up at its limit."
register(
    PRE_LN.derive(
        "dense_former",
        title="DenseFormer",
        formula="x + F(LN(x)); after block i, x ← Σ_{j ≤ i} α_ij·X_j",
        source="Pagliardini et al. 2024, arXiv:2402.02622",
        residual="dense_former",
        pitfalls=GROWS + " In the authors' code a global start of nn.Linear destroys α.",
    )
)
register(
    PRE_LN.derive(
        "mudd",
        title="MUDDFormer",
        formula="queries, keys, values and residual each read Σ_j A_j(X)·X_j; x + F(RMS(x))",
        source="Xiao et al. 2025, arXiv:2502.12170",
        norm="rms_norm",
        sites={f"{Role.FEED_FORWARD}.input": NORM, FINAL: NORM},
        residual="mudd",
        attention="separate_inputs",
        differs="Learned positions, biases and ReLU. Feed-forward widths do not grow with depth. Hidden units are not "
        "rounded up to a multiple of 64.",
        published={"positions": "rotary", "activation": "swiglu", "biases": False},
        published_lacks="feed-forward widths that grow with depth, and the rounding of hidden units to 64",
        pitfalls=GROWS + " The authors' PyTorch port starts a at random: it is for inference only.",
    )
)
register(
    PRE_LN.derive(
        "attention_residuals",
        title="Attention residuals",
        formula="F(RMS(Σ_i α_i·v_i)), α = softmax_i(wᵀ·RMS(v_i)), v the embeddings and all F before",
        source="Kimi team 2026, arXiv:2603.15031",
        norm="rms_norm",
        residual=use("attention_residuals", group=1),
        differs="Learned positions, biases and ReLU instead of rotary positions, SwiGLU and experts.",
        published={"positions": "rotary", "activation": "swiglu", "biases": False},
        published_lacks="experts in place of one feed-forward network",
        pitfalls=GROWS + " At step 0 a sublayer reads an average. x-transformers keeps the additive stream.",
    )
)
register(
    PRE_LN.derive(
        "block_attention_residuals",
        title="Block attention residuals",
        formula="as attention_residuals, over sums of the F of 4 sublayers",
        source="Kimi team 2026, arXiv:2603.15031, section 3.2, equations 5 and 6",
        norm="rms_norm",
        residual=use("attention_residuals", group=4),
        pitfalls=GROWS,
        tune="group",
    )
)
BOTTOM_TO_TOP = register(
    POST_LN.derive(
        "bottom_to_top",
        title="B2T",
        formula="z = LN(x + F₁(x)), LN(x + z + F₂(z))",
        source="Takase et al. 2022, arXiv:2206.00330",
        residual="bottom_to_top",
        pitfalls="The authors' flag also multiplies all weights by L^-½: that is `bottom_to_top_scaled`.",
    )
)
register(
    BOTTOM_TO_TOP.derive(
        "bottom_to_top_scaled",
        title="B2T with its code's start",
        formula="z = LN(x + F₁(x)), LN(x + z + F₂(z)); matrices start L^-½ times as large",
        source="the code of Takase et al. 2022, arXiv:2206.00330, rescaling_init",
        recipes=("over_root_of_depth",),
        also_without=("post_ln_scaled_start",),
    )
)
register(
    POST_LN.derive(
        "post_ln_scaled_start",
        title="Post-LN with B2T's start",
        formula="LN(x + F(x)); matrices start L^-½ times as large",
        source="the code of Takase et al. 2022, arXiv:2206.00330, rescaling_init, without its skip",
        recipes=("over_root_of_depth",),
    )
)
register(
    PRE_LN.derive(
        "x0_lambdas",
        title="x0 lambdas",
        formula="λ·x + μ·x₀ before each block, then x + F(LN(x))",
        source="nanochat (Karpathy 2025), gpt.py at 92d63d4",
        residual="x0_lambdas",
        recipes=("slow_lambdas",),
        differs="nanochat has no learned norms, rotary positions and ReLU².",
        pitfalls="The numbers in nanochat's constructor are placeholders; init_weights sets the real ones.",
    )
)
register(
    PRE_LN.derive(
        "unet",
        title="U-net skips",
        formula="block L + 1 - i reads x + w·X_i, w = 0.25; x + F(LN(x))",
        source="modded-nanogpt (Jordan et al. 2024); the start of w is BlaGPT's",
        residual=use("unet", weight=0.25),
        pitfalls=GROWS + " modded-nanogpt starts w at 1, later at σ(-1.5); x-transformers concatenates.",
        tune="weight",
    )
)
