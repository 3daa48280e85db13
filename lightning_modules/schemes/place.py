"""The place of a part in the network; free of torch, so that variants can decide by it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Role(StrEnum):
    """What a sublayer computes."""

    ATTENTION = "attention"
    FEED_FORWARD = "feed_forward"
    PARALLEL = "parallel"
    """Attention and feed-forward network of the same input, added up."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """The place of a sublayer or of one of its sites.

    Sites before and after the blocks belong to the first sublayer.
    """

    width: int
    """Width D of the stream."""

    heads: int = 1
    """Attention heads."""

    index: int = 0
    """Sublayers below this one."""

    sublayers: int = 2
    """Sublayers of the whole network."""

    per_block: int = 2
    """Sublayers of a block: two, or one if attention and feed-forward network are side by side."""

    role: Role | None = None
    """What the sublayer computes; None before and after the blocks."""

    site: str = ""
    """Name of the site; empty for the sublayer itself."""

    @property
    def block(self) -> int:
        """Number of the sublayer's block, counted from 1."""
        return self.index // self.per_block + 1

    @property
    def blocks(self) -> int:
        """Blocks of the whole network."""
        return self.sublayers // self.per_block

    @property
    def starts_block(self) -> bool:
        """Whether the sublayer is the first of its block."""
        return self.index % self.per_block == 0

    @property
    def ends_block(self) -> bool:
        """Whether the sublayer is the last of its block."""
        return self.index % self.per_block == self.per_block - 1

    @property
    def is_last(self) -> bool:
        """Whether the sublayer is the last of the network."""
        return self.index == self.sublayers - 1

    def at(self, site: str) -> Place:
        """Return the place of one of the sublayer's sites."""
        return replace(self, site=site)
