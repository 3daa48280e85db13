"""What is trained: the text that every side gets, generated rows of one length, and what a side took for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, cast

import torch
from lightning.pytorch import LightningDataModule, seed_everything
from torch import Tensor
from torch.utils.data import DataLoader

from experiments.benchmark.roster import CLASSIFICATION, OWN_PLACES
from experiments.planning.run_config import RunConfig
from experiments.tasks import TaskSpec, task_named
from lightning_modules.facts import TaskFacts, steps_in_epoch
from lightning_modules.network.counting import flops_per_token
from lightning_modules.network.heads import IGNORED
from lightning_modules.network.network import Network
from lightning_modules.tasks.base import TaskModule

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
    """One epoch of training with a configuration, or as many batches as its ``limit_train_batches`` says."""

    config: RunConfig
    dropout: str = OWN_PLACES
    """Where the networks of others drop out: one of ``DROPOUTS``."""
    ready: Callable[[], object] = int
    """What every side calls right before its clock starts: processes that train side by side wait for each other."""

    @property
    def spec(self) -> TaskSpec:
        """What is trained for."""
        return task_named(self.config.task)

    @cached_property
    def data(self) -> Any:
        """The data module, its text tokenised before any clock runs."""
        data = self.spec.load("data").from_config(self.config.data)
        data.prepare_data()
        return data

    @property
    def limit(self) -> int | None:
        """Most batches of the epoch; None for all."""
        return self.config.trainer_flags.get("limit_train_batches")

    @property
    def step_count(self) -> int:
        """Optimiser steps of the epoch."""
        return steps_in_epoch(self.data.facts.steps_per_epoch, self.limit)

    def batches(self) -> Iterator[dict[str, Tensor]]:
        """Yield the batches of the epoch, the same for every side that does not draw its own."""
        return islice(self.data.train_dataloader(), self.step_count)

    def module(self) -> TaskModule:
        """Return our module for the task, its network untrained and the same for every side that builds it so."""
        seed_everything(self.config.seed, verbose=False)
        return self.spec.load("module").from_config(self.config.model, self.data.facts)

    def network(self) -> Network:
        """Return the untrained network of :meth:`module`."""
        return self.module().network

    def work(self) -> Work:
        """Count what our batches of the epoch hold."""
        work = Work()
        for batch in self.batches():
            work.add(batch["attention_mask"])
        return work

    def flops_per_token(self) -> int:
        """Return the operations of our network's matrix products, forward and backward, per real token of the epoch.

        Attention makes them linear in a row's length L, so their mean over tokens is that of a row of length
        ``ΣL² / ΣL``. A language model reads no position but those of the targets, and each costs ``6·D·V``: the
        product with the table, and two of its size backward.
        """
        lengths, targets = [], 0
        for batch in self.batches():
            lengths += batch["attention_mask"].sum(dim=1).tolist()
            targets += int((batch["targets"] != IGNORED).sum()) if "targets" in batch else 0
        total = sum(lengths)
        whole = flops_per_token(self.network(), round(sum(length**2 for length in lengths) / total))
        if self.config.task == CLASSIFICATION:
            return whole
        unread = 6 * self.config.model.width * self.data.facts.vocabulary_size * (1 - targets / total)
        return whole - round(unread)


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
    def data(self) -> Any:
        """The batches, in place of a text's."""
        settings = self.config.data
        return GeneratedText(self.steps, settings.batch_size, settings.max_length)
