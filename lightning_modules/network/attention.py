"""Multi-head self-attention through PyTorch's scaled dot-product kernel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.network.context import Context


class SelfAttention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, arXiv:1706.03762, section 3.2).

    ::

        x ──► q, k, v ──► qk norm on q and k ──► softmax(q·kᵀ/√d_h + mask)·v ──► inner norm ──► output projection

    Args:
        width: D, width of the stream.
        heads: number of heads; d_h = D / heads.
        query_norm: norm over d_h of every query (``qk`` site); ``nn.Identity`` where there is none.
        key_norm: the same for keys.
        inner_norm: norm over D before the output projection (``inner`` site).
    """

    def __init__(
        self, width: int, heads: int, *, query_norm: nn.Module, key_norm: nn.Module, inner_norm: nn.Module
    ) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.query_norm = query_norm
        self.key_norm = key_norm
        self.inner_norm = inner_norm
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Attend within each row of ``x`` ``(B, T, D)`` to its real tokens; return ``(B, T, D)``."""
        batch, length, width = x.shape
        projected = self.query_key_value(x).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = projected.permute(2, 0, 3, 1, 4)  # each (B, H, T, d_h)
        mixed = attend(self.query_norm(query), self.key_norm(key), value, context.key_mask)
        mixed = mixed.transpose(1, 2).reshape(batch, length, width)
        return self.output(self.inner_norm(mixed))


def attend(query: Tensor, key: Tensor, value: Tensor, key_mask: Tensor) -> Tensor:
    """Return ``softmax(q·kᵀ/√d_h)·v`` over the keys that ``key_mask`` allows, ``(B, H, T, d_h)``.

    On the CPU the kernel's bfloat16 backward is many times slower than its float32 one, so there attention alone
    leaves autocast; the context manager does nothing to other devices.
    """
    if query.device.type == "cpu" and query.dtype == torch.bfloat16:
        query, key, value = query.float(), key.float(), value.float()
    with torch.autocast("cpu", enabled=False):
        return F.scaled_dot_product_attention(query, key, value, attn_mask=key_mask)
