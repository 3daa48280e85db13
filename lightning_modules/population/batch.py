"""One batch per member, padded to common sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class PopulationBatch:
    """The batches of M members as one: B rows of T tokens each, the most of any member."""

    input_ids: Tensor
    """``(M, B, T)`` int64."""
    attention_mask: Tensor
    """``(M, B, T)`` bool, true at real tokens and at the first token of an added row, so that no softmax is empty."""
    labels: Tensor
    """``(M, B)`` int64, zero in added rows."""
    is_row: Tensor
    """``(M, B)`` bool, false in rows that were added to a member's smaller batch."""
    sizes: tuple[tuple[int, int], ...]
    """Rows and tokens per row of every member's own batch."""

    @property
    def tokens(self) -> Tensor:
        """Real tokens ``(M,)`` of every member's own batch."""
        return (self.attention_mask & self.is_row[:, :, None]).sum(dim=(1, 2))

    def to(self, device: torch.device) -> PopulationBatch:
        """Return the batch with its tensors on ``device``."""
        names = ("input_ids", "attention_mask", "labels", "is_row")
        return replace(self, **{name: getattr(self, name).to(device, non_blocking=True) for name in names})


def stack_batches(batches: Sequence[Batch], padding_id: int) -> PopulationBatch:
    """Stack one batch per member; padding changes neither a member's loss nor its gradient.

    Args:
        batches: each with ``input_ids`` (b, t), ``attention_mask`` (b, t) and ``labels`` (b,), sizes as they come.
        padding_id: index of the padding token.
    """
    sizes = tuple((len(batch["labels"]), batch["input_ids"].shape[1]) for batch in batches)
    members, rows, length = len(batches), max(b for b, _ in sizes), max(t for _, t in sizes)
    input_ids = torch.full((members, rows, length), padding_id)
    attention_mask = torch.zeros((members, rows, length), dtype=torch.bool)
    attention_mask[:, :, 0] = True
    labels = torch.zeros((members, rows), dtype=torch.int64)
    is_row = torch.zeros((members, rows), dtype=torch.bool)
    for member, (batch, (b, t)) in enumerate(zip(batches, sizes, strict=True)):
        input_ids[member, :b, :t] = batch["input_ids"]
        attention_mask[member, :b, :t] = batch["attention_mask"]
        labels[member, :b] = batch["labels"]
        is_row[member, :b] = True
    return PopulationBatch(input_ids, attention_mask, labels, is_row, sizes)
