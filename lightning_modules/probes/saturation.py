"""Hidden units that rest: ReLU passes nothing on below zero, and GELU next to nothing."""

from __future__ import annotations

from torch import Tensor


def inactive_share(preactivation: Tensor, attention_mask: Tensor) -> Tensor:
    """Return the share of (real token, hidden unit) pairs whose pre-activation ``(B, T, H)`` is not above zero."""
    return (preactivation[attention_mask] <= 0).double().mean()


def dead_unit_share(preactivation: Tensor, attention_mask: Tensor) -> Tensor:
    """Return the share of hidden units whose pre-activation ``(B, T, H)`` is above zero at no real token."""
    return (preactivation[attention_mask] <= 0).all(dim=0).double().mean()
