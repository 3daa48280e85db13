"""Blocks and their stack."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from torch import Tensor, nn

from lightning_modules.config import ModelConfig
from lightning_modules.network.context import Context
from lightning_modules.network.sublayer import Residual, Sublayer, build_sublayer
from lightning_modules.schemes.place import Place, Role


class Block(nn.Module):
    """A Transformer block: attention, then the feed-forward network, or one sublayer with both side by side.

    ::

        state ──►[ attention ]──►[ feed-forward ]──► state
    """

    def __init__(self, sublayers: Mapping[Role, Sublayer]) -> None:
        super().__init__()
        schemes: list[Residual] = []
        for role, sublayer in sublayers.items():
            self.add_module(role, sublayer)
            sublayer.residual.meet(schemes)
            schemes.append(sublayer.residual)

    def forward(self, state: Any, context: Context) -> Any:
        """Return the stream's state after all sublayers."""
        for sublayer in self.children():
            state = sublayer(state, context)
        return state


def unchanged(x: Tensor) -> Tensor:
    """Return ``x``: the final site of a stack that is looked at alone."""
    return x


class BlockStack(nn.ModuleList):
    """Blocks in order; the first sublayer's residual opens the stream, the last one's closes it."""

    def forward(self, x: Tensor, context: Context, final: Callable[[Tensor], Tensor] = unchanged) -> Tensor:
        """Map the embeddings ``(B, T, D)`` to what the head sees, ``(B, T, D)``, with ``final`` as the last norm."""
        sublayers = list(self.sublayers())
        state = sublayers[0].residual.open(x)
        for block in self:
            state = block(state, context)
        return sublayers[-1].residual.close(state, final)

    def sublayers(self) -> Iterator[Sublayer]:
        """Yield all sublayers in order."""
        for block in self:
            yield from cast("Iterator[Sublayer]", block.children())


class NoBlocks(nn.Module):
    """A stack of no blocks: the head sees the embeddings."""

    def forward(self, x: Tensor, context: Context, final: Callable[[Tensor], Tensor] = unchanged) -> Tensor:
        """Return ``final(x)``, ``(B, T, D)``."""
        return final(x)

    def sublayers(self) -> Iterator[Sublayer]:
        """Yield nothing."""
        yield from ()


def build_blocks(config: ModelConfig) -> BlockStack | NoBlocks:
    """Build all blocks of the configured variant."""
    if config.depth == 0:
        return NoBlocks()
    roles = (Role.PARALLEL,) if config.scheme.parallel else (Role.ATTENTION, Role.FEED_FORWARD)
    places = [
        Place(
            width=config.width,
            heads=config.heads,
            index=index,
            sublayers=len(roles) * config.depth,
            per_block=len(roles),
            role=roles[index % len(roles)],
        )
        for index in range(len(roles) * config.depth)
    ]
    sublayers = [build_sublayer(config, place) for place in places]
    return BlockStack(
        Block(dict(zip(roles, sublayers[first : first + len(roles)], strict=True)))
        for first in range(0, len(sublayers), len(roles))
    )
