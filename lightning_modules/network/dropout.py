"""Dropout whose masks are drawn fast on the CPU, where PyTorch's own dropout takes a tenth of a training step."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 1 << 16
"""Values of the 16 random bits that decide one element."""


class Dropout(nn.Module):
    """Inverted dropout (Srivastava et al. 2014, section 10): ``y = x ⊙ m / (1 - p)``, P(m = 0) = p, while training.

    On the CPU one 64-bit draw decides four elements, 16 bits each. So p is rounded to the next of 65,536 levels, by at
    most 8e-6. ``F.dropout`` draws once per element and takes three to five times as long; other devices use it.

    Args:
        probability: p, at least 0 and below 1.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` of any shape to the same shape; on the CPU, autocast's half precision is promoted to float32."""
        if not self.training or self.probability == 0:
            return x
        shape = self.mask_shape(x.shape)
        if x.device.type == "cpu":
            dropped = x * scaled_mask(shape, self.probability)
            return dropped if torch.is_autocast_enabled("cpu") else dropped.to(x.dtype)
        return (
            F.dropout(x, self.probability) if shape == x.shape else x * F.dropout(x.new_ones(shape), self.probability)
        )

    def mask_shape(self, shape: torch.Size) -> torch.Size:
        """Return the shape of the mask for an input of ``shape``: the same, so every element has a draw of its own."""
        return shape

    def extra_repr(self) -> str:
        """Show the probability where the module is printed."""
        return f"probability={self.probability}"


def batch_seed(seed: int, epoch: int, batch: int, process: int = 0) -> int:
    """Return the seed of all dropout masks of one training batch: a function of run, epoch and batch alone.

    Processes that share the batch, numbered from 0, each have a seed of their own.
    """
    place = (seed, epoch, batch, process) if process else (seed, epoch, batch)
    return int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0])


def scaled_mask(shape: torch.Size, probability: float, generator: torch.Generator | None = None) -> Tensor:
    """Draw a float32 mask: 0 with ``probability``, else 1 / (1 - probability).

    It comes from ``generator``, a CPU one, or from PyTorch's own CPU generator; equal states give equal masks.
    """
    elements = shape.numel()
    bits = torch.empty(-(-elements // 4), dtype=torch.int64).random_(-(1 << 63), None, generator=generator)
    levels = bits.view(torch.int16)[:elements].view(shape)  # uniform over -32,768 ... 32,767
    dropped = min(round(probability * LEVELS), LEVELS - 1)
    mask = torch.empty(shape, dtype=torch.float32)
    torch.ge(levels, dropped - LEVELS // 2, out=mask)  # straight to float32: no boolean tensor in between
    return mask.mul_(LEVELS / (LEVELS - dropped))
