"""The position-wise feed-forward network."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.network.context import Context
from lightning_modules.network.parts import Function, linear
from lightning_modules.network.sites import build_site
from lightning_modules.schemes.place import Place
from lightning_modules.schemes.variants import HIDDEN, INNER, Variant


class SwiGlu(nn.Module):
    """``silu(a) ⊙ b`` of the two halves a and b of the features (Shazeer 2020, arXiv:2002.05202)."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., 2·H)`` to ``(..., H)``."""
        first, second = x.chunk(2, dim=-1)
        return F.silu(first) * second


class TanhGelu(nn.GELU):
    """``x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³)))``, near ``gelu`` (Hendrycks & Gimpel 2016, arXiv:1606.08415)."""

    def __init__(self) -> None:
        super().__init__(approximate="tanh")


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "gelu_tanh": TanhGelu,
    "swiglu": SwiGlu,
}


class FeedForward(Function):
    """``W₂·inner(activation(hidden(W₁·x + b₁))) + b₂`` at each position (arXiv:1706.03762).

    Args:
        variant: names the ops at the sites ``hidden`` and ``inner``.
        place: gives the width D of the stream.
        hidden_width: width H between the two matrices.
        activation: ``relu``, ``gelu``, ``gelu_tanh`` or ``swiglu``; for the last, W₁ has twice as many rows, and the
            second half of them makes the gate's other factor.
    """

    def __init__(self, variant: Variant, place: Place, *, hidden_width: int, activation: str) -> None:
        super().__init__()
        self.names = ("hidden", "gate") if activation == "swiglu" else ("hidden",)
        rows = len(self.names) * hidden_width
        self.hidden = linear(place.width, rows, variant.biases)
        self.before_activation = build_site(variant, HIDDEN, rows, place)
        self.activation = ACTIVATIONS[activation]()
        self.inner = build_site(variant, INNER, hidden_width, place)
        self.output = linear(hidden_width, place.width, variant.biases)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Map ``(B, T, D)`` to ``(B, T, D)``."""
        hidden = self.activation(self.before_activation(self.hidden(x), context))  # (B, T, H)
        return self.output(self.inner(hidden, context))

    def matrices(self) -> dict[str, Tensor]:
        """Return W₁ ``(H, D)``, the gate's matrix ``(H, D)`` if there is one, and W₂ ``(D, H)``."""
        parts = zip(self.names, self.hidden.weight.chunk(len(self.names)), strict=True)
        return {f"feed_forward_{name}": part for name, part in parts} | {"feed_forward_output": self.output.weight}
