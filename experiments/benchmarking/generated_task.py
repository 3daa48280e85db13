"""A task of random rows that all have one length, so that nothing but the varied size decides its time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from data_modules.labelled_text import TextDataModule
from experiments.benchmarking.task import Task, Work
from lightning_modules.facts import TaskFacts

CLASSES = 5
VOCABULARY = 10_000


class GeneratedText(LightningDataModule):
    """Batches of random token ids, all real, whose first token decides the class.

    Args:
        steps: batches of an epoch.
        batch_size: rows of a batch.
        length: tokens of every row.
    """

    def __init__(self, steps: int, batch_size: int, length: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        tokens = torch.randint(1, VOCABULARY, (steps, batch_size, length), generator=generator)
        self.batches = [as_batch(batch, index * batch_size) for index, batch in enumerate(tokens)]
        self.facts = TaskFacts(
            vocabulary_size=VOCABULARY,
            class_names=tuple(f"class {index}" for index in range(CLASSES)),
            class_counts=(steps * batch_size // CLASSES,) * CLASSES,
            padding_id=0,
            max_length=length,
            steps_per_epoch=steps,
        )

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the batches in their order."""
        return DataLoader(cast(Any, self.batches), batch_size=None)

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the first batch, for the score that a checkpoint needs."""
        return DataLoader(cast(Any, self.batches[:1]), batch_size=None)


def as_batch(tokens: Tensor, first_row: int) -> dict[str, Tensor]:
    """Return the batch of token ids ``(B, T)`` as the classifier takes it."""
    return {
        "input_ids": tokens,
        "attention_mask": torch.ones_like(tokens, dtype=torch.bool),
        "labels": tokens[:, 0] % CLASSES,
        "rows": torch.arange(first_row, first_row + len(tokens)),
    }


@dataclass(frozen=True)
class GeneratedTask(Task):
    """One epoch on generated rows; ``config.data`` gives the rows of a batch and the length of all rows."""

    steps: int = 20
    """Batches of the epoch."""

    @cached_property
    def data(self) -> TextDataModule:
        """The batches, which stand in for a text's."""
        settings = self.config.data
        return cast(TextDataModule, GeneratedText(self.steps, settings.batch_size, settings.max_length))

    def work(self) -> Work:
        """Return how much the batches hold."""
        rows = self.steps * self.config.data.batch_size
        tokens = rows * self.config.data.max_length
        return Work(rows, tokens, tokens)
