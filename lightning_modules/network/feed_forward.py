"""The position-wise feed-forward network."""

from __future__ import annotations

from torch import Tensor, nn

from lightning_modules.network.context import Context

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU}


class FeedForward(nn.Module):
    """``W₂·inner(activation(W₁·x + b₁)) + b₂`` at each position (arXiv:1706.03762, equation 2).

    Args:
        width: D, width of the stream.
        hidden_width: width between the two matrices.
        activation: ``relu`` or ``gelu``.
        inner_norm: norm over the hidden width before the second matrix; ``nn.Identity`` where there is none.
    """

    def __init__(self, width: int, hidden_width: int, *, activation: str, inner_norm: nn.Module) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, hidden_width)
        self.activation = ACTIVATIONS[activation]()
        self.inner_norm = inner_norm
        self.output = nn.Linear(hidden_width, width)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Map ``(B, T, D)`` to ``(B, T, D)``; the context is not needed here."""
        return self.output(self.inner_norm(self.activation(self.hidden(x))))
