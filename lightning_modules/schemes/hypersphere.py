"""nGPT: representation learning on the hypersphere (Loshchilov et al. 2024, arXiv:2410.01131), whole in one file."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.network.attention import SelfAttention
from lightning_modules.network.backbone import Backbone, Recipe
from lightning_modules.network.context import Context
from lightning_modules.network.parts import attention, op, recipe, residual
from lightning_modules.network.sublayer import Branch, Residual
from lightning_modules.schemes.place import Place
from lightning_modules.schemes.placements import NO_NORM
from lightning_modules.schemes.variants import HIDDEN, LOGITS, Variant, register

INWARD = ("attention_query", "attention_key", "attention_value", "feed_forward_hidden", "feed_forward_gate")
"""Matrices whose rows are of unit length; the other matrices have columns of unit length."""


class Rescaled(nn.Module):
    """A learned vector of effective value ``start``, stored as ``stored``: the ratio decides how fast it learns."""

    def __init__(self, shape: tuple[int, ...], start: float, stored: float) -> None:
        super().__init__()
        self.vector, self.factor = nn.Parameter(torch.full(shape, stored)), start / stored

    def forward(self, x: Tensor) -> Tensor:
        """Multiply ``x`` by the effective vector."""
        return self.value() * x

    def value(self) -> Tensor:
        """Return the effective vector."""
        return self.factor * self.vector


@residual("hypersphere")
class Hypersphere(Residual):
    """``x ← norm(x + |α| ⊙ (norm(F(x)) - x))``, x of unit length, α = 0.05."""

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self.rate = Rescaled((place.width,), 0.05, place.width**-0.5)

    def forward(self, state: Tensor, branch: Branch) -> Tensor:
        x, y = F.normalize(state, dim=-1), F.normalize(branch(state), dim=-1)
        return F.normalize(x + self.rate.value().abs() * (y - x), dim=-1)


@attention("hypersphere")
class HypersphereAttention(SelfAttention):
    """``softmax(√d_h·q̂·k̂ᵀ)·v``, q̂ = s ⊙ q/‖q‖, k̂ = s ⊙ k/‖k‖, one s = 1 for both."""

    def __init__(self, variant: Variant, place: Place) -> None:
        super().__init__(variant, place)
        self.scale = Rescaled((place.heads, 1, place.width // place.heads), 1.0, place.width**-0.5)

    def mix(self, query: Tensor, key: Tensor, value: Tensor, context: Context) -> Tensor:
        query, key = (self.scale(F.normalize(x, dim=-1)) for x in (query, key))
        return super().mix(query.shape[-1] * query, key, value, context)


@op("hidden_scale")
def hidden_scale(width: int, place: Place) -> Rescaled:
    """``√D·s ⊙ x`` with a learned s = 1, before the activation."""
    return Rescaled((width,), place.width**0.5, 1.0)


@op("logit_scale")
def logit_scale(width: int, place: Place) -> Rescaled:
    """``s ⊙ logits`` with a learned s of effective value 1, stored as 1/√D."""
    return Rescaled((width,), 1.0, place.width**-0.5)


@recipe("unit_weights")
class UnitWeights(Recipe):
    """All matrices have unit vectors along the width D, at the start and after every step; nothing decays.

    Section 2.6, summary: rows of what reads the stream, of the embedding and of the head; columns of what writes it.
    """

    def initialise(self, backbone: Backbone, head: nn.Module) -> None:
        self.after_step(backbone, head)

    def factors(self, name: str, parameter: nn.Parameter, backbone: Backbone) -> dict[str, float]:
        return {"weight_decay": 0.0}

    def after_step(self, backbone: Backbone, head: nn.Module) -> None:
        for _, name, matrix in backbone.matrices():
            matrix.copy_(F.normalize(matrix, dim=-1 if name in INWARD else -2))
        tables = [part for part in backbone.embeddings.modules() if isinstance(part, nn.Embedding)]
        heads = [part for part in head.modules() if isinstance(part, nn.Linear)]
        for weight in [part.weight for part in tables[:1]] + [part.weight for part in heads]:
            weight.copy_(F.normalize(weight, dim=-1))


register(
    NO_NORM.derive(
        "ngpt",
        title="nGPT",
        formula="norm(x + |α| ⊙ (norm(F(x)) - x)), α = 0.05, all weights of unit length",
        source="Loshchilov et al. 2024, arXiv:2410.01131, section 2.6",
        residual="hypersphere",
        attention="hypersphere",
        biases=False,
        sites={HIDDEN: "hidden_scale", LOGITS: "logit_scale"},
        recipes=("unit_weights",),
        differs="Learned positions and ReLU instead of rotary positions and SwiGLU; 7 vectors of D per block, not 11.",
        published={"positions": "rotary", "activation": "swiglu", "feed_forward_factor": 4},
        pitfalls="No warm-up and no decay are published with it. The authors' first baseline was wrong, and their bf16 "
        "weights hurt it (NVIDIA/ngpt#1).",
        tune="the rate, without warm-up",
    )
)
