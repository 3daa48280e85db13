"""What is trained: the text that every side gets, generated rows of one length, and what a side took for them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import torch
from lightning.pytorch import LightningDataModule, seed_everything
from torch import Tensor
from torch.utils.data import DataLoader

from data_modules.labelled_text import TextDataModule
from experiments.planning.run_config import RunConfig
from lightning_modules.facts import TaskFacts
from lightning_modules.network.counting import flops_per_token
from lightning_modules.network.network import Network, build_network

GENERATED_CLASSES = 5
GENERATED_VOCABULARY = 10_000


@dataclass
class Work:
    """How much was trained on, counted batch by batch."""

    rows: int = 0
    tokens: int = 0
    """Real tokens: padding is not among them."""
    positions: int = 0
    """Tokens and padding: what the arithmetic is done for."""

    def add(self, attention_mask: Tensor) -> None:
        """Count a batch by its mask ``(B, T)``, true or one at real tokens."""
        self.rows += len(attention_mask)
        self.tokens += int(attention_mask.sum())
        self.positions += attention_mask.numel()


@dataclass(frozen=True, kw_only=True)
class SideTiming:
    """The time that one side took for the task, and the work that it did."""

    seconds: float
    """Training alone: batches, forward, backward, clipping, optimiser and schedule, and what the side does between."""
    rows: int
    tokens: int
    """Real tokens trained on."""
    positions: int
    """Real tokens and padding."""
    steps: int
    parameters: dict[str, torch.Tensor]
    """The trained weights, which tell whether two sides did the same work."""
    copies: int = 1
    """How many times the task was trained, at once; rows, tokens and positions are those of all copies together."""

    @property
    def tokens_per_second(self) -> float:
        """Real tokens per second."""
        return self.tokens / self.seconds


@dataclass(frozen=True)
class BenchmarkTask:
    """One epoch of training with a configuration."""

    config: RunConfig

    @cached_property
    def data(self) -> TextDataModule:
        """The batches, tokenised before any clock runs."""
        data = TextDataModule.from_config(self.config.data)
        data.prepare_data()
        return data

    def network(self) -> Network:
        """Return the untrained network, the same for every side that builds it so."""
        seed_everything(self.config.seed, verbose=False)
        facts = self.data.facts
        return build_network(
            self.config.model,
            vocabulary_size=facts.vocabulary_size,
            outputs=len(facts.class_names),
            max_length=facts.max_length,
            padding_id=facts.padding_id,
        )

    def work(self) -> Work:
        """Count what the length-grouped batches of the epoch hold."""
        work = Work()
        for batch in self.data.train_dataloader():
            work.add(batch["attention_mask"])
        return work

    def flops_per_token(self) -> int:
        """Return the operations of the network's matrix products, forward and backward, per real token of the epoch.

        Attention makes them linear in a row's length L, so their mean over tokens is that of a row of length
        ``ΣL² / ΣL``.
        """
        lengths = self.data.encoded.splits["train"].lengths
        return flops_per_token(self.network(), round(float((lengths**2).sum() / lengths.sum())))


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
        tokens = torch.randint(1, GENERATED_VOCABULARY, (steps, batch_size, length), generator=generator)
        self.batches = [
            {
                "input_ids": batch,  # B, T
                "attention_mask": torch.ones_like(batch, dtype=torch.bool),
                "labels": batch[:, 0] % GENERATED_CLASSES,
                "rows": torch.arange(index * batch_size, (index + 1) * batch_size),
            }
            for index, batch in enumerate(tokens)
        ]
        self.facts = TaskFacts(
            vocabulary_size=GENERATED_VOCABULARY,
            class_names=tuple(f"class {index}" for index in range(GENERATED_CLASSES)),
            class_counts=(steps * batch_size // GENERATED_CLASSES,) * GENERATED_CLASSES,
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


@dataclass(frozen=True)
class GeneratedTask(BenchmarkTask):
    """One epoch on random rows that all have one length, so that nothing but the varied size decides its time.

    ``config.data`` gives the rows of a batch and the length of all rows.
    """

    steps: int = 20
    """Batches of the epoch."""

    @cached_property
    def data(self) -> TextDataModule:
        """The batches, in place of a text's."""
        settings = self.config.data
        return cast(TextDataModule, GeneratedText(self.steps, settings.batch_size, settings.max_length))
