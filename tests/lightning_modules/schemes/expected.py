"""What a paper says about a scheme, and the entries of the plain placements: see ``test_scheme_formulas.py``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from scheme_weights import Weights
from torch import Tensor

WIDTH, HEADS, HIDDEN, OUTPUTS = 16, 4, 64, 3
HEAD = WIDTH // HEADS

Step = Callable[[Weights, Tensor], Tensor]
"""From a sublayer's weights and the stream ``(B, T, D)`` to the new stream."""

Whole = Callable[[list[Weights], Tensor], Tensor]
"""From the weights of all sublayers and the embeddings ``(B, T, D)`` to what the final norm sees."""

Norm = Callable[[Weights, Tensor, str], Tensor]
"""From weights, the stream and a norm's name to the normalised stream."""

Number = Callable[[int], int]
"""From a number of blocks to a number of things."""


def ln(w: Weights, x: Tensor, name: str) -> Tensor:
    return w.ln(x, name)


def rms(w: Weights, x: Tensor, name: str) -> Tensor:
    return w.rms(x, name)


@dataclass(frozen=True)
class Expected:
    """What a paper says about a scheme with L blocks; neither step nor whole means that there are no blocks."""

    step: Step | None
    norms: Number
    skips: Number
    whole: Whole | None = None
    """The formula of a scheme that remembers more than the stream, in the place of ``step``."""
    tokens: Step | None = None
    """What happens to the embeddings of the tokens, before positions."""
    embedding: bool = False
    """Whether a norm follows the embeddings."""
    final: bool = False
    """Whether a norm precedes the head."""
    norm: Norm = ln
    """What stands after the embeddings and before the head."""
    logits: Step | None = None
    own: Number = lambda layers: 0
    """Parameters that are neither matrices, biases, embeddings nor norms."""
    norm_parameters: int | None = 2
    """Parameters of a norm per channel; none where ``own`` counts those of norms too."""
    biases: bool = True
    missing: Number = lambda layers: 0
    """Parameters of the usual matrices that the scheme does not have."""


def both(layers: int) -> int:
    return 2 * layers


def one(layers: int) -> int:
    return layers


def none(layers: int) -> int:
    return 0


def and_final(layers: int) -> int:
    return 2 * layers + 1


def over_tokens(w: Weights, x: Tensor, name: str) -> Tensor:
    centred = x - x.mean(dim=1, keepdim=True)
    return w[f"{name}.gain"] * centred / (centred.square().mean(dim=1, keepdim=True) + 1e-5).sqrt() + w[f"{name}.bias"]


FIRST: dict[str, Expected] = {
    "post_ln": Expected(lambda w, x: w.ln(x + w.f(x), "post.0"), both, both),
    "pre_ln": Expected(lambda w, x: x + w.f(w.ln(x, "input.0")), and_final, both, final=True),
    "no_residual": Expected(lambda w, x: w.ln(w.f(x), "post.0"), both, none),
    "no_residual_pre": Expected(lambda w, x: w.f(w.ln(x, "input.0")), and_final, none, final=True),
    "no_norm": Expected(lambda w, x: x + w.f(x), none, both),
    "plain": Expected(lambda w, x: w.f(x), none, none),
    "article_block": Expected(lambda w, x: w.ln(x + w.f(x), "post.0").clamp(min=0), both, both),
    "article_layer_norm_dim1": Expected(lambda w, x: over_tokens(w, x + w.f(x), "post.0"), both, both),
    "peri_ln": Expected(
        lambda w, x: x + w.ln(w.f(w.ln(x, "input.0")), "output.0"),
        lambda layers: 4 * layers + 2,
        both,
        embedding=True,
        final=True,
    ),
    "layer_norm_scaling": Expected(
        lambda w, x: x + w.f(w.ln(x, "input.0") / math.sqrt(w.block)), and_final, both, final=True
    ),
    "rezero": Expected(lambda w, x: x + w["output.0.gain"] * w.f(x), none, both, own=both),
    "deepnorm": Expected(lambda w, x: w.ln((2 * w.blocks) ** 0.25 * x + w.f(x), "post.0"), both, both),
    "depth_scaled_post_ln": Expected(lambda w, x: w.ln(x + w.f(x) / math.sqrt(w.blocks), "post.0"), both, both),
    "bag_of_embeddings": Expected(None, none, none),
}
