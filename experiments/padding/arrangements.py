"""The same rows in batches with more padding, with less, or with none at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch.nn.functional import pad

from lightning_modules.tasks.classification import Batch

ALONE = "alone"
AS_TESTED = "as tested"
MORE_COLUMNS = (8, 16, 32)
"""Columns of padding that are added to every batch."""


def arrangements(batches: Sequence[Batch], padding_id: int, longest: int) -> dict[str, list[Batch]]:
    """Return batches rearranged, by name, from no padding to most; see :func:`lengthened` for the arguments."""
    alone = [row for batch in batches for row in rows_alone(batch)]
    longer = {
        more(columns): [lengthened(batch, columns, padding_id, longest) for batch in batches]
        for columns in MORE_COLUMNS
    }
    return {ALONE: alone, AS_TESTED: list(batches), **longer}


def more(columns: int) -> str:
    """Return the name of the arrangement with so many more columns."""
    return f"+{columns} columns"


def lengthened(batch: Batch, columns: int, padding_id: int, longest: int) -> Batch:
    """Return a batch with ``columns`` further columns of padding on the right, masked as all padding is.

    Args:
        batch: ``input_ids`` (B, T), ``attention_mask`` (B, T), true at real tokens, and whatever else.
        columns: columns to add.
        padding_id: the token that stands in them.
        longest: most columns of a batch: position embeddings end there, so no more than up to it are added.
    """
    added = (0, max(0, min(columns, longest - batch["input_ids"].shape[1])))
    return batch | {
        "input_ids": pad(batch["input_ids"], added, value=padding_id),
        "attention_mask": pad(batch["attention_mask"], added, value=False),
    }


def rows_alone(batch: Batch) -> Iterator[Batch]:
    """Yield every row as a batch ``(1, length)`` of its own; an empty row keeps one column, which is padding."""
    for row, length in enumerate(batch["attention_mask"].sum(dim=1).tolist()):
        kept = {name: values[row : row + 1] for name, values in batch.items()}
        yield kept | {name: kept[name][:, : max(1, length)] for name in ("input_ids", "attention_mask")}
