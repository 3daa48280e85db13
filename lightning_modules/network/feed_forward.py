"""The position-wise feed-forward network."""

from __future__ import annotations

from torch import Tensor, nn

from lightning_modules.network.context import Context
from lightning_modules.network.parts import Function, linear
from lightning_modules.network.sites import build_site
from lightning_modules.schemes.place import Place
from lightning_modules.schemes.variants import HIDDEN, INNER, Variant

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU}


class FeedForward(Function):
    """``W₂·inner(activation(hidden(W₁·x + b₁))) + b₂`` at each position (arXiv:1706.03762, equation 2).

    Args:
        variant: what stands at the sites ``hidden`` and ``inner``.
        place: gives the width D of the stream.
        hidden_width: width H between the two matrices.
        activation: ``relu`` or ``gelu``.
    """

    def __init__(self, variant: Variant, place: Place, *, hidden_width: int, activation: str) -> None:
        super().__init__()
        self.hidden = linear(place.width, hidden_width, variant.biases)
        self.before_activation = build_site(variant, HIDDEN, hidden_width, place)
        self.activation = ACTIVATIONS[activation]()
        self.inner = build_site(variant, INNER, hidden_width, place)
        self.output = linear(hidden_width, place.width, variant.biases)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Map ``(B, T, D)`` to ``(B, T, D)``."""
        hidden = self.activation(self.before_activation(self.hidden(x), context))  # (B, T, H)
        return self.output(self.inner(hidden, context))

    def matrices(self) -> dict[str, Tensor]:
        """Return W₁ ``(H, D)`` and W₂ ``(D, H)``."""
        return {"feed_forward_hidden": self.hidden.weight, "feed_forward_output": self.output.weight}
