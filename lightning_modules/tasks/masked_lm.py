"""Masked language models: hidden tokens are predicted from all others (Devlin et al. 2018, arXiv:1810.04805)."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

from lightning_modules.network.heads import TokenAnswers
from lightning_modules.tasks.base import Batch
from lightning_modules.tasks.causal_lm import LanguageModel, TokenShare


class MaskedLanguageModel(LanguageModel):
    """An encoder that predicts hidden tokens and, if rows are pairs of spans, whether the second follows the first.

    The exponential of its loss is a pseudo-perplexity: it covers hidden tokens alone, seen from both sides.

    Args:
        settings: fields of :class:`~lightning_modules.config.ModelConfig`.
    """

    perplexity = "pseudo_perplexity"

    def loss(self, outputs: TokenAnswers | Tensor, batch: Batch) -> Tensor:
        """Mean loss over the hidden tokens and, of pairs, that of whether the second span follows, added up."""
        loss = super().loss(outputs, batch)
        if isinstance(outputs, Tensor) or outputs.rows is None:
            return loss
        return loss + F.cross_entropy(outputs.rows.float(), batch["follows"])

    def observe(self, outputs: TokenAnswers, batch: Batch) -> dict[str, Any]:
        """What every language model observes and, of pairs, how many there are and how many were told right."""
        observed = super().observe(outputs, batch)
        if outputs.rows is not None:
            observed["pairs"] = len(outputs.rows)
            observed["pair_hits"] = (outputs.rows.argmax(dim=-1) == batch["follows"]).sum()
        return observed

    def metrics(self) -> dict[str, Metric]:
        """Those of every language model and, of pairs, the share that was told right."""
        assert self.facts is not None, "build() takes the facts"
        pairs: dict[str, Metric] = {"sentence_accuracy": TokenShare("pair_hits", "pairs")}
        return super().metrics() | (pairs if self.facts.next_sentence else {})
