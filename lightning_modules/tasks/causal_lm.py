"""Causal language models: every token is predicted from those before it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from lightning_modules.config import ModelConfig
from lightning_modules.network.heads import IGNORED, LanguageHead, TokenAnswers, token_losses
from lightning_modules.tasks.base import Batch, TaskModule
from lightning_modules.training.metrics import MeanLoss

LARGEST_LOSS = 700.0
"""Loss in nats whose perplexity is the greatest that is reported; a greater loss could have an infinite one."""


class Perplexity(MeanLoss):
    """``exp`` of the mean loss over targets; a model that knows nothing has the vocabulary's size."""

    def compute(self) -> Tensor:
        """Return the perplexity, in double precision."""
        return super().compute().double().clamp(max=LARGEST_LOSS).exp()


class BitsPerByte(Metric):
    """Bits of the loss over all targets by the bytes that these spell; it compares across tokenizers.

    ::

        Σ loss / (ln 2 · bytes)
    """

    full_state_update = False
    nats: Tensor
    spelt: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("nats", "spelt"):
            self.add_state(name, torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, loss: Tensor, rows: int, spelt: Tensor) -> None:
        """Add the mean loss of a batch, its number of targets and the bytes that they spell."""
        self.nats += loss.double() * rows
        self.spelt += spelt

    def compute(self) -> Tensor:
        """Return bits per byte."""
        return self.nats / (math.log(2) * self.spelt)


class TokenShare(Metric):
    """Share of the targets that something holds for.

    Args:
        name: what :meth:`~lightning_modules.tasks.base.TaskModule.observe` calls the number of these targets.
        of: what it calls the number of all.
    """

    full_state_update = False

    def __init__(self, name: str, of: str = "rows") -> None:
        super().__init__()
        self.names = (name, of)
        for state in self.names:  # so named, as torchmetrics shares the states of metrics that look alike
            self.add_state(f"sum_of_{state}", torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, **observed: Any) -> None:
        """Add what was observed of a batch."""
        for name in self.names:
            setattr(self, f"sum_of_{name}", getattr(self, f"sum_of_{name}") + observed[name])

    def compute(self) -> Tensor:
        """Return the share."""
        found, every = (getattr(self, f"sum_of_{name}") for name in self.names)
        return found / every


class LanguageModel(TaskModule):
    """What causal and masked language models share; ``targets`` (B, T) of a batch are what is to be predicted.

    Args:
        settings: fields of :class:`~lightning_modules.config.ModelConfig`.
    """

    perplexity = "perplexity"
    """What the exponential of the loss is called."""

    def outputs(self) -> int:
        """One logit for each token of the vocabulary."""
        assert self.facts is not None, "build() takes the facts"
        return self.facts.vocabulary_size

    def build_head(self, config: ModelConfig, outputs: int) -> nn.Module:
        """Build what reads a token from every position."""
        assert self.facts is not None, "build() takes the facts"
        return LanguageHead(config, outputs, next_sentence=self.facts.next_sentence)

    def forward(self, batch: Batch) -> TokenAnswers:
        """Loss of every target of a batch."""
        return self.network.answers(
            batch["input_ids"], batch["attention_mask"], batch["targets"], batch.get("segments")
        )

    def weight_of(self, batch: Batch) -> int:
        """The training loss is a mean over targets."""
        return int((batch["targets"] != IGNORED).sum())

    def loss(self, outputs: TokenAnswers | Tensor, batch: Batch) -> Tensor:
        """Mean loss over the targets, of answers or, for probes, of logits ``(B, T, V)``."""
        if isinstance(outputs, Tensor):
            losses, _ = token_losses(lambda logits: logits, outputs, batch["targets"], outputs.shape[-1])
            return losses.mean()
        return outputs.losses.mean()

    def observe(self, outputs: TokenAnswers, batch: Batch) -> dict[str, Any]:
        """Mean loss; how many targets there are, are right and are unknown words; and the bytes that they spell."""
        assert self.facts is not None, "build() takes the facts"
        observed = {"loss": outputs.losses.mean(), "rows": len(outputs.losses), "hits": outputs.hits.sum()}
        if self.facts.unknown_id is not None:
            observed["unknown"] = (batch["targets"] == self.facts.unknown_id).sum()
        if "bytes" in batch:
            observed["spelt"] = batch["bytes"].sum()
        return observed

    def metrics(self) -> dict[str, Metric]:
        """Loss, perplexity, token accuracy, and what the tokenizer allows: bits per byte, share of unknown words."""
        assert self.facts is not None, "build() takes the facts"
        metrics: dict[str, Metric] = {
            "loss": MeanLoss(),
            self.perplexity: Perplexity(),
            "token_accuracy": TokenShare("hits"),
        }
        if self.facts.unknown_id is not None:
            metrics["unknown_share"] = TokenShare("unknown")
        return metrics


class CausalLanguageModel(LanguageModel):
    """A decoder that predicts each token from those before it, of its window or of its document alone.

    Args:
        settings: fields of :class:`~lightning_modules.config.ModelConfig`.
    """

    @property
    def is_causal(self) -> bool:
        """Always."""
        return True

    def metrics(self) -> dict[str, Metric]:
        """Those of every language model, and bits per byte if the tokens spell every text."""
        assert self.facts is not None, "build() takes the facts"
        return super().metrics() | ({"bits_per_byte": BitsPerByte()} if self.facts.byte_complete else {})
