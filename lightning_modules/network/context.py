"""What the sublayers of one forward pass share."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


class NothingShared(LookupError):
    """No earlier sublayer has left what a part asks for, as where a block is looked at alone."""


@dataclass
class Context:
    """Travels through all sublayers of one forward pass."""

    attention_mask: Tensor
    """``(B, T)`` bool, True at real tokens."""

    causal: bool = False
    """Whether a token sees only itself and what comes before it."""

    step: Tensor | None = None
    """Optimiser steps taken so far, a scalar; none outside a backbone."""

    shared: dict[str, Tensor] = field(default_factory=dict)
    """What a sublayer hands to later ones, such as the first block's values or the latest logits, by name. A part that
    cannot do without it reads it by :meth:`recall`."""

    key_mask: Tensor = field(init=False)
    """The mask as attention needs it, True where a query may look: ``(B, 1, 1, T)``, or ``(B, 1, T, T)`` if causal."""

    def __post_init__(self) -> None:
        self.key_mask = self.attention_mask[:, None, None, :]
        if self.causal:
            length = self.attention_mask.shape[1]
            earlier = torch.ones(length, length, dtype=torch.bool, device=self.attention_mask.device).tril()
            self.key_mask = self.key_mask & earlier

    def recall(self, name: str) -> Tensor:
        """Return what an earlier sublayer shared under ``name``.

        Raises:
            NothingShared: none did.
        """
        if name not in self.shared:
            raise NothingShared(f"no earlier sublayer has shared {name!r}")
        return self.shared[name]
