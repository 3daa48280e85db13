"""Sublayers, blocks and their stack: how a variant becomes modules."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from lightning_modules.config import ModelConfig
from lightning_modules.network.attention import SelfAttention
from lightning_modules.network.context import Context
from lightning_modules.network.dropout import Dropout
from lightning_modules.network.feed_forward import ACTIVATIONS, FeedForward
from lightning_modules.schemes.norms import NORMS
from lightning_modules.schemes.streams import STREAMS, Place, ResidualStream, Role
from lightning_modules.schemes.variants import INNER, INPUT, OUTPUT, POST, QK, Variant


class Sublayer(nn.Module):
    """One function of a block with its norms and its residual stream.

    ::

        state ──► read ──► input norm ──► F ──► output norm ──► dropout ──► write (add, then post norm) ──► state
          │                                                                   ▲
          └───────────────────────────────────────────────────────────────────┘

    Dropout falls on the sublayer's output (arXiv:1706.03762, section 5.4), not on hidden units or attention
    probabilities, where it would cost a third of a CPU training step.
    """

    def __init__(
        self,
        function: nn.Module,
        stream: ResidualStream,
        *,
        input_norm: nn.Module,
        output_norm: nn.Module,
        dropout: float,
    ) -> None:
        super().__init__()
        self.stream = stream
        self.input_norm = input_norm
        self.function = function
        self.output_norm = output_norm
        self.dropout = Dropout(dropout)

    def forward(self, state: Any, context: Context) -> Any:
        """Read from the stream, compute, write back; return the new state."""
        y = self.function(self.input_norm(self.stream.read(state)), context)
        return self.stream.write(state, self.dropout(self.output_norm(y)))


class Block(nn.Module):
    """A Transformer block: attention, then feed-forward, each between a read and a write of the stream.

    ::

        state ──►[ attention ]──►[ feed-forward ]──► state
    """

    def __init__(self, attention: Sublayer, feed_forward: Sublayer) -> None:
        super().__init__()
        self.attention = attention
        self.feed_forward = feed_forward

    def forward(self, state: Any, context: Context) -> Any:
        """Return the state after both sublayers."""
        state = self.attention(state, context)
        return self.feed_forward(state, context)


class BlockStack(nn.ModuleList):
    """Blocks in order; the first sublayer's stream opens the residual stream, the last one's closes it."""

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Map the embeddings ``(B, T, D)`` to what the head sees, ``(B, T, D)``."""
        first, last = cast(Block, self[0]), cast(Block, self[-1])
        state = first.attention.stream.open(x)
        for block in self:
            state = block(state, context)
        return last.feed_forward.stream.close(state)


class NoBlocks(nn.Module):
    """A stack of no blocks: the head sees the embeddings."""

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Return ``x``, ``(B, T, D)``."""
        return x


def build_norm(variant: Variant, site: str, width: int, place: Place | None = None) -> nn.Module:
    """Build the norm over ``width`` features that the variant has at ``site``, or ``nn.Identity``.

    ``place`` is the sublayer's, where the site belongs to one.
    """
    role, block = (place.role, place.block) if place is not None else (None, 1)
    return NORMS[variant.norm_at(site, role)](width, block)


def build_function(config: ModelConfig, place: Place) -> nn.Module:
    """Build the function F of a sublayer: attention or feed-forward, with its norms."""
    width, hidden_width = config.width, config.feed_forward_width or 4 * config.width
    if place.role is Role.ATTENTION:
        return SelfAttention(
            width,
            config.heads,
            query_norm=build_norm(config.scheme, QK, width // config.heads, place),
            key_norm=build_norm(config.scheme, QK, width // config.heads, place),
            inner_norm=build_norm(config.scheme, INNER, width, place),
        )
    return FeedForward(
        width,
        hidden_width,
        activation=config.activation,
        inner_norm=build_norm(config.scheme, INNER, hidden_width, place),
    )


def build_post(variant: Variant, width: int, place: Place) -> nn.Module:
    """Build what follows the add: the ``post`` norm and, in the article's block, an activation."""
    norm = build_norm(variant, POST, width, place)
    return norm if variant.post_activation is None else nn.Sequential(norm, ACTIVATIONS[variant.post_activation]())


def build_sublayer(config: ModelConfig, place: Place) -> Sublayer:
    """Build one sublayer of the configured variant at its place in the network."""
    variant, width = config.scheme, config.width
    return Sublayer(
        build_function(config, place),
        STREAMS[variant.residual](place, width, build_post(variant, width, place)),
        input_norm=build_norm(variant, INPUT, width, place),
        output_norm=build_norm(variant, OUTPUT, width, place),
        dropout=config.dropout,
    )


def build_blocks(config: ModelConfig) -> BlockStack | NoBlocks:
    """Build all blocks of the configured variant."""
    sublayers = 2 * config.depth
    if sublayers == 0:
        return NoBlocks()
    return BlockStack(
        Block(
            build_sublayer(config, Place(index, sublayers, Role.ATTENTION)),
            build_sublayer(config, Place(index + 1, sublayers, Role.FEED_FORWARD)),
        )
        for index in range(0, sublayers, 2)
    )
