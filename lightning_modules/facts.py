"""What a model must know of the text before it can be built."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class TaskFacts:
    """The text's facts as plain values, so that a checkpoint can carry them."""

    vocabulary_size: int
    """Tokens of the vocabulary, special ones included."""

    class_names: tuple[str, ...] = ()
    """Names of the K classes, in label order; empty for a text without labels."""

    class_counts: tuple[int, ...] = ()
    """Training rows of each class."""

    padding_id: int
    """Index of the padding token."""

    max_length: int
    """Most tokens of a row."""

    steps_per_epoch: int
    """Training batches of an epoch."""

    tokenizer_sha256: str = ""
    """SHA-256 of the tokenizer, which gives the token ids their meaning; empty if unknown."""

    text_sha256: str = ""
    """Digest of the rows of all splits; empty if unknown."""

    end_id: int | None = None
    """Index of the token that ends a document; some tokenizers pad with it too. None if documents have no end token."""

    unknown_id: int | None = None
    """Index of unknown words; None if nothing is unknown."""

    mask_id: int | None = None
    """Index of the token that hides another; None if there is no such token."""

    class_id: int | None = None
    """Index of the token that opens a row; None if there is no such token."""

    special_ids: tuple[int, ...] = ()
    """Indices of all special tokens, which no text has."""

    byte_complete: bool = False
    """Whether the tokens spell every text, so that bits per byte mean something."""

    next_sentence: bool = False
    """Whether a row is two spans of text; the second may come from elsewhere."""

    @classmethod
    def of(cls, source: Any) -> TaskFacts:
        """Copy the facts from any object with attributes of these names; a missing attribute takes its default."""
        return cls(**{field.name: getattr(source, field.name) for field in fields(cls) if hasattr(source, field.name)})

    def as_dict(self) -> dict[str, Any]:
        """Return the facts as a dict of plain values."""
        return asdict(self)


def steps_in_epoch(batches: int, limit: float | None = None, accumulated: int | None = None) -> int:
    """Return the optimiser steps of an epoch, as Lightning counts them.

    Args:
        batches: training batches of an epoch.
        limit: ``limit_train_batches`` of the trainer, a number of batches or a share of them.
        accumulated: ``accumulate_grad_batches`` of the trainer.
    """
    if isinstance(limit, int):
        batches = min(batches, limit)
    elif limit is not None:
        batches = int(batches * limit)
    return math.ceil(batches / (accumulated or 1))
