"""What sublayers share besides the residual stream."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Context:
    """Travels through all sublayers of one forward pass.

    Schemes in which attention hands something to later layers (first values, previous logits) add a field here, so
    that no block's signature changes.
    """

    attention_mask: Tensor
    """``(B, T)`` bool, True at real tokens."""

    @property
    def key_mask(self) -> Tensor:
        """The mask as attention needs it, ``(B, 1, 1, T)``: every query may look at every real token."""
        return self.attention_mask[:, None, None, :]
