"""What a model must know of the text before it can be built."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol


class SupportsFacts(Protocol):
    """What the model expects of ``datamodule.facts``; the data package has its own class for it."""

    @property
    def vocabulary_size(self) -> int:
        """Tokens of the vocabulary."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in label order."""

    @property
    def class_counts(self) -> tuple[int, ...]:
        """Training rows of each class."""

    @property
    def padding_id(self) -> int:
        """Index of the padding token."""

    @property
    def max_length(self) -> int:
        """Most tokens of a row."""

    @property
    def steps_per_epoch(self) -> int:
        """Training batches of an epoch."""


@dataclass(frozen=True, kw_only=True)
class TaskFacts:
    """The text's facts as plain values, so that a checkpoint can carry them."""

    vocabulary_size: int
    """Tokens of the vocabulary, special ones included."""

    class_names: tuple[str, ...]
    """Names of the K classes, in label order."""

    class_counts: tuple[int, ...]
    """Training rows of each class."""

    padding_id: int
    """Index of the padding token."""

    max_length: int
    """Most tokens of a row."""

    steps_per_epoch: int
    """Training batches of an epoch."""

    @classmethod
    def of(cls, source: SupportsFacts) -> TaskFacts:
        """Copy the facts from any object that has them."""
        return cls(**{field.name: getattr(source, field.name) for field in fields(cls)})

    def as_dict(self) -> dict[str, Any]:
        """Return the facts as a dict of plain values."""
        return asdict(self)
