"""What the sublayers of one forward pass share."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


class NothingShared(LookupError):
    """No earlier sublayer has shared what a part asks for, for instance because a block is looked at alone."""


class KeyValueCache:
    """Keys and values of the tokens that a causal network has read, so that it need not read them again.

    Attributes:
        length: tokens read so far.
    """

    def __init__(self) -> None:
        self.length = 0
        self._held: dict[int, tuple[Tensor, Tensor]] = {}

    def extended(self, owner: object, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values of all tokens, ``(B, H, T, d_h)`` both; the given ones are the latest.

        Args:
            owner: the attention that they belong to.
            key: ``(B, H, t, d_h)``.
            value: ``(B, H, t, d_h)``.
        """
        if id(owner) in self._held:
            earlier = self._held[id(owner)]
            key, value = (torch.cat(pair, dim=2) for pair in zip(earlier, (key, value), strict=True))
        self._held[id(owner)] = key, value
        return key, value


@dataclass
class Context:
    """Travels through all sublayers of one forward pass."""

    attention_mask: Tensor
    """``(B, T)`` bool, True at real tokens."""

    causal: bool = False
    """Whether a token sees only itself and what comes before it."""

    step: Tensor | None = None
    """Optimiser steps taken so far, a scalar; None outside a backbone."""

    segments: Tensor | None = None
    """``(B, T)`` document of each token if several documents share a row and must not see each other; else None."""

    past: KeyValueCache | None = None
    """What was read before these tokens, if a text is read piece by piece."""

    rotation: tuple[Tensor, Tensor] | None = None
    """Cosines and sines ``(T, d_h / 2)`` by which queries and keys are turned, if positions are rotary."""

    shared: dict[str, Tensor] = field(default_factory=dict)
    """What a sublayer hands to later ones, such as the first block's values or the latest logits, by name. A part that
    cannot do without it reads it by :meth:`recall`."""

    start: int = field(init=False)
    """Position of the first of these tokens: how many were read before."""

    key_mask: Tensor = field(init=False)
    """The mask as attention needs it, True where a query may look: ``(B, 1, 1, T)``, or ``(B, 1, T, T)`` if queries
    differ."""

    def __post_init__(self) -> None:
        (rows, length), device = self.attention_mask.shape, self.attention_mask.device
        self.start = 0 if self.past is None else self.past.length
        before = torch.ones(rows, self.start, dtype=torch.bool, device=device)
        mask = torch.cat([before, self.attention_mask], dim=1) if self.start else self.attention_mask
        self.key_mask = mask[:, None, None, :]
        if self.causal:
            earlier = torch.ones(length, self.start + length, dtype=torch.bool, device=device).tril(self.start)
            self.key_mask = self.key_mask & earlier
        if self.segments is not None:
            self.key_mask = self.key_mask & (self.segments[:, None, :, None] == self.segments[:, None, None, :])

    def turned(self, x: Tensor) -> Tensor:
        """Return queries or keys ``(B, H, T, d_h)`` turned by their positions (Su et al. 2021, arXiv:2104.09864).

        For each pair of features at position t, with θ_i = 10000^(-2i/d_h)::

            (x_2i, x_2i+1) ──► (x_2i·cos tθ_i - x_2i+1·sin tθ_i,  x_2i·sin tθ_i + x_2i+1·cos tθ_i)
        """
        if self.rotation is None:
            return x
        (cosine, sine), even, odd = self.rotation, x[..., 0::2], x[..., 1::2]
        return torch.stack((even * cosine - odd * sine, even * sine + odd * cosine), dim=-1).flatten(-2).to(x.dtype)

    def recall(self, name: str) -> Tensor:
        """Return what an earlier sublayer shared under ``name``.

        Raises:
            NothingShared: none did.
        """
        if name not in self.shared:
            raise NothingShared(f"no earlier sublayer has shared {name!r}")
        return self.shared[name]
