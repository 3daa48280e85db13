"""Residual streams: how a sublayer reads its input and how its output is written back.

A residual scheme is a small module with four methods::

    open(x)           -> state      start the stream from the embeddings
    read(state)       -> x          what the sublayer sees                      (B, T, D)
    write(state, y)   -> state      put the sublayer's output y back
    close(state)      -> x          what the head sees

There is one stream module per sublayer. The first one opens the stream and the last one closes it. Each knows its
:class:`Place`, so depth-dependent constants and block-level schemes need no special case, and it owns the ``post``
module (norm and activation after the add), because schemes differ in what they apply it to. The state is opaque to
the blocks: one tensor here, but a scheme may keep several streams, the embeddings, or all earlier outputs.

To add a scheme, subclass :class:`ResidualStream`, register it in ``STREAMS``, and name it in a variant.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn


class Role(StrEnum):
    """What a sublayer computes."""

    ATTENTION = "attention"
    FEED_FORWARD = "feed_forward"


@dataclass(frozen=True)
class Place:
    """Where a sublayer stands in the network."""

    index: int
    """Sublayers below this one."""

    sublayers: int
    """Sublayers of the whole network."""

    role: Role
    """What the sublayer computes."""

    @property
    def block(self) -> int:
        """Number of the sublayer's block, counted from 1; a block has two sublayers."""
        return self.index // 2 + 1

    @property
    def blocks(self) -> int:
        """Blocks of the whole network."""
        return self.sublayers // 2


class ResidualStream(nn.Module, ABC):
    """Base of all residual schemes: the state is the tensor ``(B, T, D)`` itself; :meth:`write` is left to subclasses.

    Attributes:
        skips: skip connections around the sublayer, which tables print.
    """

    skips = 0

    def __init__(self, place: Place, width: int, post: nn.Module) -> None:
        super().__init__()
        self.place = place
        self.width = width
        self.post = post

    def open(self, x: Tensor) -> Any:
        """Start the stream from the embeddings ``(B, T, D)``."""
        return x

    def read(self, state: Any) -> Tensor:
        """Return what the sublayer sees, ``(B, T, D)``."""
        return state

    @abstractmethod
    def write(self, state: Any, y: Tensor) -> Any:
        """Put the sublayer's output ``y`` of shape ``(B, T, D)`` back and return the new state."""

    def close(self, state: Any) -> Tensor:
        """Return what the head sees, ``(B, T, D)``."""
        return state

    def terms(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return what of the stream ``x`` and of the sublayer's output ``y`` is added up, both ``(B, T, D)``."""
        return x, y

    def extra_repr(self) -> str:
        """Show the place where the module is printed."""
        return f"{self.place.role} {self.place.index + 1} of {self.place.sublayers}"


class NoResidual(ResidualStream):
    """No skip connection: ``state ← post(y)``. The sublayer's output replaces the stream."""

    def write(self, state: Tensor, y: Tensor) -> Tensor:
        """Return ``post(y)``."""
        return self.post(y)


class IdentityResidual(ResidualStream):
    """The identity skip: ``state ← post(state + y)`` (He et al. 2015, arXiv:1512.03385, equation 1)."""

    skips = 1

    def write(self, state: Tensor, y: Tensor) -> Tensor:
        """Return ``post(state + y)``."""
        return self.post(state + y)


class ReZero(ResidualStream):
    """A learned scalar on the branch that starts at zero: ``state ← post(state + α·y)``, α = 0.

    Bachlechner et al. 2020, arXiv:2003.04887, equation 1. Each sublayer has an α of its own; the authors' code shares
    one between the two sublayers of a block. Weight decay leaves α alone.
    """

    skips = 1

    def __init__(self, place: Place, width: int, post: nn.Module) -> None:
        super().__init__(place, width, post)
        self.branch_weight = nn.Parameter(torch.zeros(()))

    def write(self, state: Tensor, y: Tensor) -> Tensor:
        """Return ``post(state + α·y)``."""
        return self.post(state + self.branch_weight * y)

    def terms(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``x`` and ``α·y``."""
        return x, self.branch_weight * y


class DeepNormResidual(ResidualStream):
    """A constant on the skip that grows with depth: ``state ← post(α·state + y)``, α = (2L)^¼ for L blocks.

    Wang et al. 2022, arXiv:2203.00555, section 3.1 and table 1 (encoder-only). The variant also shrinks the initial
    branch weights (``initialisation.BRANCH_GAINS``).
    """

    skips = 1

    def __init__(self, place: Place, width: int, post: nn.Module) -> None:
        super().__init__(place, width, post)
        self.skip_weight = (2 * place.blocks) ** 0.25

    def write(self, state: Tensor, y: Tensor) -> Tensor:
        """Return ``post(α·state + y)``."""
        return self.post(self.skip_weight * state + y)

    def terms(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``α·x`` and ``y``."""
        return self.skip_weight * x, y


class DepthScaledResidual(ResidualStream):
    """A constant on the branch that shrinks with depth: ``state ← post(state + y/√L)`` for L blocks.

    Noci et al. 2022, arXiv:2206.03126, section 4: with it, tokens of a deep Post-LN network do not align.
    """

    skips = 1

    def __init__(self, place: Place, width: int, post: nn.Module) -> None:
        super().__init__(place, width, post)
        self.branch_weight = 1 / math.sqrt(place.blocks)

    def write(self, state: Tensor, y: Tensor) -> Tensor:
        """Return ``post(state + y/√L)``."""
        return self.post(state + self.branch_weight * y)

    def terms(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``x`` and ``y/√L``."""
        return x, self.branch_weight * y


STREAMS: dict[str, type[ResidualStream]] = {
    "none": NoResidual,
    "identity": IdentityResidual,
    "rezero": ReZero,
    "deepnorm": DeepNormResidual,
    "depth_scaled": DepthScaledResidual,
}
"""Residual streams by the name that a variant uses."""
