"""Multi-head self-attention through PyTorch's scaled dot-product kernel."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.network.context import Context
from lightning_modules.network.parts import Function, linear
from lightning_modules.network.sites import build_site
from lightning_modules.schemes.place import Place
from lightning_modules.schemes.variants import HEADS, INNER, KEY, QUERY, VALUE, Variant


class SelfAttention(Function):
    """Multi-head self-attention (Vaswani et al. 2017, arXiv:1706.03762, section 3.2).

    ::

        x ──► q, k, v ──► their sites ──► softmax(q·kᵀ/√d_h + mask)·v ──► heads ──► inner ──► output projection

    A scheme that changes attention overrides :meth:`project` or :meth:`mix`, and :meth:`matrices` if it has others.

    Args:
        variant: names the ops at the sites.
        place: gives width D and heads H; d_h = D / H.
    """

    fused: tuple[str, ...] = (QUERY, KEY, VALUE)
    """What the rows of the fused projection are, in equal parts."""

    def __init__(self, variant: Variant, place: Place) -> None:
        super().__init__()
        width, self.number_of_heads = place.width, place.heads
        head_width = width // place.heads
        self.query_key_value = linear(width, len(self.fused) * width, variant.biases)
        self.query = build_site(variant, QUERY, head_width, place)
        self.key = build_site(variant, KEY, head_width, place)
        self.value = build_site(variant, VALUE, head_width, place)
        self.heads = build_site(variant, HEADS, head_width, place)
        self.inner = build_site(variant, INNER, width, place)
        self.output: nn.Module = linear(width, width, variant.biases)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Attend within each row of ``x`` ``(B, T, D)`` to what the context's mask allows; return ``(B, T, D)``."""
        query, key, value = self.project(x, context)
        query, key, value = self.query(query, context), self.key(key, context), self.value(value, context)
        query, key = context.turned(query), context.turned(key)
        if context.past is not None:
            key, value = context.past.extended(self, key, value)
        mixed = self.heads(self.mix(query, key, value, context), context)  # (B, H, T, d_h)
        return self.output(self.inner(mixed.transpose(1, 2).flatten(2), context))

    def project(self, x: Tensor, context: Context) -> tuple[Tensor, ...]:
        """Return queries, keys and values of ``x`` ``(B, T, D)``, each ``(B, H, T, d_h)``."""
        batch, length, _ = x.shape  # heads that were pruned leave fewer features than the stream has
        projected = self.query_key_value(x).view(batch, length, len(self.fused), self.number_of_heads, -1)
        return projected.permute(2, 0, 3, 1, 4).unbind()

    def mix(self, query: Tensor, key: Tensor, value: Tensor, context: Context) -> Tensor:
        """Return what each query gathers of the values, ``(B, H, T, d_h)``."""
        return attend(query, key, value, context.key_mask)

    def matrices(self) -> dict[str, Tensor]:
        """Return queries', keys' and values' matrices and the output projection, each ``(D, D)``."""
        parts = self.query_key_value.weight.chunk(len(self.fused))
        return {f"attention_{name}": part for name, part in zip(self.fused, parts, strict=True)} | {
            "attention_output": cast(Tensor, self.output.weight)
        }


def attend(query: Tensor, key: Tensor, value: Tensor, key_mask: Tensor) -> Tensor:
    """Return ``softmax(q·kᵀ/√d_h)·v`` over the keys that ``key_mask`` allows, ``(B, H, T, d_h)``.

    The kernel wants one precision, and an op may have raised that of queries or keys. So the highest of the three is
    taken. On the CPU the kernel's bfloat16 backward pass is many times slower than its float32 one. So attention alone
    leaves autocast there; the context manager does nothing on other devices. Without autocast, as when all weights are
    bfloat16, the result has the precision of the input.
    """
    dtype = came = torch.promote_types(torch.promote_types(query.dtype, key.dtype), value.dtype)
    within_autocast = torch.is_autocast_enabled("cpu")
    if query.device.type == "cpu":
        dtype = torch.promote_types(dtype, torch.float32)
    with torch.autocast("cpu", enabled=False):
        mixed = F.scaled_dot_product_attention(query.to(dtype), key.to(dtype), value.to(dtype), attn_mask=key_mask)
    return mixed if within_autocast else mixed.to(came)
