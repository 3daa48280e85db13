"""From token indices to the vectors that open the residual stream."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lightning_modules.network.dropout import Dropout


class LearnedPositions(nn.Module):
    """Add a learned vector per position: ``x + P[0..T-1]`` (Gehring et al. 2017, arXiv:1705.03122, section 3.1)."""

    def __init__(self, max_length: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(max_length, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, T, D)`` to ``(B, T, D)``, with T at most the greatest length."""
        return x + self.embedding.weight[: x.shape[1]]


class SinusoidalPositions(nn.Module):
    """Add fixed sinusoids to the scaled embedding (arXiv:1706.03762, sections 3.4 and 3.5).

    ::

        y = √D·x + P,   P[t, 2i] = sin(t / 10000^(2i/D)),   P[t, 2i+1] = cos(t / 10000^(2i/D))
    """

    table: Tensor

    def __init__(self, max_length: int, width: int) -> None:
        super().__init__()
        self.scale = math.sqrt(width)
        even = torch.arange(0, width, 2)
        angles = torch.arange(max_length)[:, None] / 10_000.0 ** (even / width)  # (T, ⌈D/2⌉)
        table = torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)[:, :width]
        self.register_buffer("table", table, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, T, D)`` to ``(B, T, D)``, with T at most the greatest length."""
        return self.scale * x + self.table[: x.shape[1]]


class NoPositions(nn.Identity):
    """Leave out word order; takes the arguments of the other position modules and ignores them."""


POSITIONS: dict[str, Callable[[int, int], nn.Module]] = {
    "learned": LearnedPositions,
    "sinusoidal": SinusoidalPositions,
    "none": NoPositions,
}


class Embedding(nn.Module):
    """``dropout(norm(positions(E[token])))``; the norm stands at the ``embedding`` site, usually ``nn.Identity``."""

    def __init__(
        self,
        vocabulary_size: int,
        width: int,
        padding_id: int,
        *,
        positions: nn.Module,
        norm: nn.Module,
        dropout: float,
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary_size, width, padding_idx=padding_id)
        self.positions = positions
        self.norm = norm
        self.dropout = Dropout(dropout)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Map indices ``(B, T)`` to vectors ``(B, T, D)``."""
        return self.dropout(self.norm(self.positions(self.tokens(input_ids))))
