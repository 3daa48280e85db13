"""A start made for no skips: attention whose first weights carry a chosen similarity of tokens through all blocks."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.errors import ConfigurationError
from lightning_modules.network.attention import SelfAttention
from lightning_modules.network.backbone import Backbone, Recipe
from lightning_modules.network.context import Context
from lightning_modules.network.feed_forward import FeedForward
from lightning_modules.network.parts import attention, feed_forward, recipe
from lightning_modules.schemes.attention_forms import masked_softmax
from lightning_modules.schemes.place import Place
from lightning_modules.schemes.placements import NO_NORM
from lightning_modules.schemes.variants import FINAL, INPUT, NORM, Variant, register, use

SIMILARITY_OF_STRANGERS = 0.9
"""η: what the feed-forward networks may make of the cosine of two orthogonal inputs, over all blocks."""
KEPT = 2048
"""First weights that are kept, each for one block and one length of rows."""


def decay(block: int, blocks: int, last: float) -> float:
    """Return ``γ_l`` with ``1 - exp(-2γ_l) = (1 - exp(-2γ_L))^(l/L)``; infinite for l = 0, where tokens are alone."""
    kept = -math.expm1(-2 * last)
    return math.inf if block == 0 else -0.5 * math.log1p(-(kept ** (block / blocks)))


def similarity(length: int, gamma: float) -> Tensor:
    """Return ``Σ_ij = exp(-γ·|i - j|)``, ``(n, n)`` in float64; the identity if γ is infinite."""
    places = torch.arange(length, dtype=torch.float64)
    distance = (places[:, None] - places).abs()
    return torch.where(distance == 0, 1.0, torch.exp(-gamma * distance))


@lru_cache(maxsize=KEPT)
def first_weights(length: int, block: int, blocks: int, last: float, causal: bool) -> tuple[Tensor, Tensor]:
    """Return ``B`` ``(n, n)`` and ``D`` ``(n,)`` with ``D·softmax(B) = A_l = S_l·S_{l-1}^-1`` for a row of n tokens.

    Under a causal mask S is the Cholesky factor of Σ, and a longer row changes nothing for earlier tokens. Otherwise it
    is the symmetric root. A softmax needs entries above 0; far from the diagonal rounding may bring them below.
    """
    below, above = (similarity(length, decay(each, blocks, last)) for each in (block - 1, block))
    if causal:
        roots = torch.linalg.cholesky(above), torch.linalg.cholesky(below)
        weights = torch.linalg.solve_triangular(roots[1].mT, roots[0].mT, upper=True).mT.tril()
    else:
        weights = power(above, 0.5) @ power(below, -0.5)
    least = torch.finfo(torch.float32).tiny
    weights = weights.clamp(min=least)
    sizes = (weights.tril() if causal else weights).sum(-1)
    return (weights / sizes[:, None]).log(), sizes


def power(matrix: Tensor, exponent: float) -> Tensor:
    """Return a power of a symmetric positive definite matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=torch.finfo(values.dtype).eps) ** exponent) @ vectors.mT


@torch.library.custom_op("resnorm::first_weights_of_rows", mutates_args=())
def first_weights_of_rows(
    together: Tensor, place: Tensor, start: int, last: float, causal: bool, exact: bool
) -> tuple[Tensor, Tensor]:
    """Return B ``(B, 1, T, S)`` and D ``(B, 1, T, 1)`` of rows with lengths of their own, for T queries and S keys.

    An op of its own, so that a compiler neither looks into it nor translates every block anew.

    Args:
        together: ``(B, T, S)``, true where a key is a real token of the query's own text.
        place: block and number of blocks.
        start: keys that were read before the queries.
        last: γ_L.
        causal: whether a causal mask applies.
        exact: whether to return float64 instead of float32.
    """
    block, blocks = place.tolist()
    places = together.cumsum(-1).diagonal(start, -2, -1) - 1  # (B, T), of a query in its text
    earlier = torch.arange(start, device=places.device).expand(len(places), -1)
    of_keys = torch.cat([earlier, places], dim=1)  # (B, S)
    if causal:
        lengths, which = [together.shape[-1]], torch.zeros_like(places)
    else:
        found, which = together.sum(-1).clamp(min=1).unique(return_inverse=True)
        lengths = found.tolist()
    longest, made = max(lengths), [first_weights(length, block, blocks, last, causal) for length in lengths]
    bias = torch.stack([F.pad(each, (0, longest - len(each), 0, longest - len(each))) for each, _ in made])
    sizes = torch.stack([F.pad(each, (0, longest - len(each))) for _, each in made])
    bias, sizes = (each.to(places.device, torch.float64 if exact else torch.float32) for each in (bias, sizes))
    places, of_keys = (each.clamp(0, longest - 1) for each in (places, of_keys))  # padding has no place
    return bias[which[:, :, None], places[:, :, None], of_keys[:, None]][:, None], sizes[which, places][
        :, None, :, None
    ]


@first_weights_of_rows.register_fake
def shapes_of_first_weights(
    together: Tensor, place: Tensor, start: int, last: float, causal: bool, exact: bool
) -> tuple[Tensor, Tensor]:
    """Return empty tensors of the same shapes and precision, for compilers and for counting."""
    rows, queries, keys = together.shape
    dtype = torch.float64 if exact else torch.float32
    return together.new_empty((rows, 1, queries, keys), dtype=dtype), together.new_empty(
        (rows, 1, queries, 1), dtype=dtype
    )


@attention("signal_preserving")
class SignalPreservingAttention(SelfAttention):
    """``D·softmax(q·kᵀ/√d_h + B)·v``, D and B fixed so that at q = 0 it is ``A_l`` of E-SPA.

    He et al. 2023, arXiv:2302.10322::

        A_l = S_l·S_{l-1}^-1,   Σ_l = S_l·S_lᵀ,   (Σ_l)_ij = exp(-γ_l·|i - j|),   Σ_0 = I

    After l attentions the tokens of a row are as alike as Σ_l says; after L of them they still differ. A row's own
    length and places count, whatever it is padded to or packed with.
    """

    place: Tensor

    def __init__(self, variant: Variant, place: Place, last_decay: float = 0.005) -> None:
        super().__init__(variant, place)
        if not 0 < last_decay < math.inf:
            raise ConfigurationError(f"last_decay is {last_decay}; it must be a number above 0, such as 0.005")
        self.last_decay = last_decay
        self.register_buffer("place", torch.tensor([place.block, place.blocks]), persistent=False)

    def mix(self, query: Tensor, key: Tensor, value: Tensor, context: Context) -> Tensor:
        exact = query.dtype == torch.float64
        bias, sizes = first_weights_of_rows(
            own_row(context), self.place, context.start, self.last_decay, context.causal, exact
        )
        scores = (query @ key.mT / math.sqrt(query.shape[-1])).to(bias.dtype) + bias
        return (sizes * masked_softmax(scores, context.key_mask)).to(value.dtype) @ value


def own_row(context: Context) -> Tensor:
    """Return ``(B, T, S)``, true where a key is a real token of the query's own text, whatever order hides of it."""
    mask = context.attention_mask
    before = mask.new_ones(len(mask), context.start)
    together = torch.cat([before, mask], dim=1)[:, None].expand(-1, mask.shape[1], -1)
    if context.segments is not None:
        together = together & (context.segments[:, :, None] == context.segments[:, None])
    return together


def tailored_slope(blocks: int, target: float = SIMILARITY_OF_STRANGERS) -> float:
    """Return the slope α ≥ 0 below zero with which L leaky rectifiers turn a cosine of 0 into at most η.

    Zhang et al. 2022, arXiv:2203.08120, equation 9 for one of them::

        C(c) = c + (1 - α)²/(π(1 + α²))·(√(1 - c²) - c·arccos c)

    A shallow network stays below η with α = 0.
    """

    def reached(slope: float) -> float:
        cosine = 0.0
        for _ in range(blocks):
            share = (1 - slope) ** 2 / (math.pi * (1 + slope**2))
            cosine = min(1.0, cosine + share * (math.sqrt(1 - cosine**2) - cosine * math.acos(cosine)))
        return cosine

    low, high = 0.0, 1.0
    if reached(low) <= target:
        return low
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if reached(middle) > target else (low, middle)
    return high


class TailoredRelu(nn.Module):
    """``√(2/(1 + α²))·max(x, α·x)``, which keeps the mean square of a normal input (arXiv:2203.08120)."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope, self.gain = slope, math.sqrt(2 / (1 + slope**2))

    def forward(self, x: Tensor) -> Tensor:
        """Map any shape to itself."""
        return self.gain * F.leaky_relu(x, self.slope)


@feed_forward("tailored")
class TailoredFeedForward(FeedForward):
    """The feed-forward network with :class:`TailoredRelu`, its slope set by the number of blocks."""

    def __init__(self, variant: Variant, place: Place, *, hidden_width: int, activation: str) -> None:
        super().__init__(variant, place, hidden_width=hidden_width, activation="relu")
        self.activation = TailoredRelu(tailored_slope(place.blocks))


@recipe("size_preserving")
class SizePreserving(Recipe):
    """All matrices but those of queries and keys start orthogonal, times ``max(1, √(outputs/inputs))``; queries at 0.

    arXiv:2302.10322, with the scaled orthogonal draw of Martens et al. 2021, arXiv:2110.01765.
    """

    def initialise(self, backbone: Backbone, head: nn.Module) -> None:
        for _, name, matrix in backbone.matrices():
            if name == "attention_query":
                matrix.zero_()
            elif name != "attention_key":
                nn.init.orthogonal_(matrix, gain=max(1.0, math.sqrt(matrix.shape[0] / matrix.shape[1])))


E_SPA = register(
    NO_NORM.derive(
        "e_spa",
        parent="plain",
        title="E-SPA",
        formula="F(x); attention D·softmax(q·kᵀ/√d + B)·v that starts as S_l·S_(l-1)⁻¹, S_l·S_lᵀ = exp(-γ_l·|i - j|)",
        source="He et al. 2023, arXiv:2302.10322, and a public port of it to images",
        residual="none",
        attention=use("signal_preserving", last_decay=0.005),
        feed_forward="tailored",
        recipes=("size_preserving",),
        unverified="the paper was not read; γ_l, η and the root for attention without a causal mask are from the port, "
        "which cites page 15",
        differs="Rows have lengths of their own. Embeddings start as `model.embedding_std` says; 1 suits it.",
        pitfalls="`model.activation` has no effect. First weights are kept for each length of rows: 8n² bytes a block.",
        tune="embedding_std, last_decay",
    )
)
register(
    E_SPA.derive(
        "e_spa_norm",
        title="E-SPA with norms",
        formula="F(LN(x)) with attention and start of E-SPA, and LN before the head",
        sites={INPUT: NORM, FINAL: NORM},
        unverified="as e_spa; which norms the paper adds to it was not read",
    )
)
