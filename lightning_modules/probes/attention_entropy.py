"""How widely attention looks: probabilities from queries and keys, and their entropy."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def attention_probabilities(query: Tensor, key: Tensor, attention_mask: Tensor) -> Tensor:
    """Return ``softmax(q·kᵀ/√d_h)`` over real keys, ``(B, H, T, T)``, of queries and keys ``(B, H, T, d_h)``.

    The fused kernel of ``network/attention.py`` uses these without returning them (arXiv:1706.03762).
    """
    logits = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    return logits.masked_fill(~attention_mask[:, None, None, :], -torch.inf).softmax(dim=-1)


def attention_entropy(probabilities: Tensor, attention_mask: Tensor) -> Tensor:
    """Return ``-Σ_k p_k·ln p_k`` in nats, averaged over heads and real queries.

    It is 0 if each query looks at one key, and ln n if it looks at all n real keys alike.

    Args:
        probabilities: ``(B, H, T, T)``, keys last; zero at padding.
        attention_mask: ``(B, T)``, True at real tokens.
    """
    return entropies(probabilities)[attention_mask].mean()


def attention_entropy_share(probabilities: Tensor, attention_mask: Tensor) -> Tensor:
    """Return the entropy as a share of its maximum ln n, averaged over real queries of rows with n > 1 real keys."""
    keys = attention_mask.sum(dim=1, keepdim=True)
    share = entropies(probabilities) / keys.to(probabilities.dtype).log()
    return share[attention_mask & (keys > 1)].mean()


def entropies(probabilities: Tensor) -> Tensor:
    """Return the entropy of each query in nats, averaged over heads, ``(B, T)``."""
    return torch.special.entr(probabilities).sum(dim=-1).mean(dim=1)
