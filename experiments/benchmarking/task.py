"""What every side of the benchmark trains on, what it took, and how much of it was padding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from lightning.pytorch import seed_everything
from torch import Tensor

from data_modules.labelled_text import TextDataModule
from experiments.planning.run_config import RunConfig
from experiments.runs.execute import section
from lightning_modules.network.counting import flops_per_token
from lightning_modules.network.network import Network, build_network


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
class Timing:
    """What one side took for the task."""

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

    @property
    def rows_per_second(self) -> float:
        """Rows per second."""
        return self.rows / self.seconds

    @property
    def padding(self) -> float:
        """Share of the positions that is padding: 1 − tokens/positions."""
        return 1 - self.tokens / self.positions


@dataclass(frozen=True)
class Task:
    """One epoch of training with a configuration."""

    config: RunConfig

    @cached_property
    def data(self) -> TextDataModule:
        """The batches, tokenised before any clock runs."""
        data = TextDataModule(**section(self.config.data))
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
        """Return how much the length-grouped batches of the epoch hold."""
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


Side = Callable[[Task], Timing]
"""Trains the task in its own way, once."""
