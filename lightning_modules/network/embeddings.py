"""From token indices to the vectors that open the residual stream."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lightning_modules.config import ModelConfig
from lightning_modules.errors import ConfigurationError
from lightning_modules.network.context import Context
from lightning_modules.network.dropout import Dropout
from lightning_modules.network.sites import Site, build_site
from lightning_modules.schemes.place import Place
from lightning_modules.schemes.variants import EMBEDDING, TOKENS


class LearnedPositions(nn.Module):
    """Add a learned vector per position: ``x + P[0..T-1]`` (Gehring et al. 2017, arXiv:1705.03122, section 3.1)."""

    def __init__(self, max_length: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(max_length, width)

    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        """Map ``(B, T, D)`` to ``(B, T, D)``, with T at most the greatest length."""
        return x + self.embedding.weight[places(x, context)]


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

    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        """Map ``(B, T, D)`` to ``(B, T, D)``, with T at most the greatest length."""
        return self.scale * x + self.table[places(x, context)]


class RotaryPositions(nn.Module):
    """Tell attention the angles by which it turns queries and keys (Su et al. 2021, arXiv:2104.09864, section 3.2).

    The stream itself has no positions. :meth:`Context.turned` has the formula.

    Args:
        max_length: most tokens of a row.
        width: d_h, features of a head.

    Raises:
        ConfigurationError: d_h is odd, so its features do not form pairs.
    """

    angles: Tensor

    def __init__(self, max_length: int, width: int) -> None:
        super().__init__()
        if width % 2:
            raise ConfigurationError(
                f"model.positions is rotary, which turns pairs of features; a head has {width}: "
                "choose model.width and model.heads so that it has an even number"
            )
        frequencies = 10_000.0 ** (-torch.arange(0, width, 2) / width)
        self.register_buffer("angles", torch.arange(max_length)[:, None] * frequencies, persistent=False)

    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        """Return ``x`` ``(B, T, D)``, and leave the angles in the context."""
        if context is not None:
            angles = self.angles[places(x, context)]
            context.rotation = angles.cos(), angles.sin()
        return x


class NoPositions(nn.Module):
    """Leave out word order; takes the arguments of the other position modules and ignores them."""

    def __init__(self, max_length: int, width: int) -> None:
        super().__init__()

    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        """Return ``x``, ``(B, T, D)``."""
        return x


def places(x: Tensor, context: Context | None) -> slice:
    """Return the positions of ``x`` ``(B, T, D)``: from 0, or after what was read before."""
    start = 0 if context is None else context.start
    return slice(start, start + x.shape[1])


POSITIONS: dict[str, Callable[[int, int], nn.Module]] = {
    "learned": LearnedPositions,
    "sinusoidal": SinusoidalPositions,
    "rotary": RotaryPositions,
    "none": NoPositions,
}


class NoTable(nn.Module):
    """The table of a backbone that reads vectors only."""

    def forward(self, input_ids: Tensor) -> Tensor:
        """Refuse token ids.

        Raises:
            ConfigurationError: always.
        """
        raise ConfigurationError("this backbone has no vocabulary: give vectors (B, T, D), or build it for ids")


class Embeddings(nn.Module):
    """``dropout(embedding(positions(tokens(E[id]))))``, with the variant's sites ``tokens`` and ``embedding``.

    Args:
        table: E, an ``nn.Embedding`` or :class:`NoTable`.
        positions: adds what tells positions apart.
        tokens: site before the positions.
        embedding: site after them.
        dropout: its probability.
    """

    def __init__(
        self, table: nn.Module, positions: nn.Module, *, tokens: Site, embedding: Site, dropout: float
    ) -> None:
        super().__init__()
        self.table = table
        self.positions = positions
        self.tokens = tokens
        self.embedding = embedding
        self.dropout = Dropout(dropout)

    def forward(self, inputs: Tensor, context: Context | None = None) -> Tensor:
        """Map ids ``(B, T)``, or vectors ``(B, T, D)`` in their place, to what opens the stream, ``(B, T, D)``.

        The context may be left out unless an op needs it.
        """
        x = inputs if inputs.is_floating_point() else self.table(inputs)
        return self.dropout(self.embedding(self.positions(self.tokens(x, context), context), context))


def build_embeddings(
    config: ModelConfig, *, vocabulary_size: int | None, max_length: int, padding_id: int | None, place: Place
) -> Embeddings:
    """Build the embeddings of ``config``; without a vocabulary they take vectors only."""
    width = config.width // config.heads if config.positions == "rotary" else config.width
    positions = POSITIONS[config.positions](max_length, width)
    table = NoTable() if vocabulary_size is None else nn.Embedding(vocabulary_size, config.width, padding_id)
    return Embeddings(
        table,
        positions,
        tokens=build_site(config.scheme, TOKENS, config.width, place),
        embedding=build_site(config.scheme, EMBEDDING, config.width, place),
        dropout=config.dropout,
    )
