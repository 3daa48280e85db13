"""The networks of all members as one function of stacked weights."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from lightning_modules.network.classifier_network import ClassifierNetwork
from lightning_modules.population.batch import Batch, PopulationBatch
from lightning_modules.population.dropout import draw_masks, replace_dropout
from lightning_modules.population.weights import StackedWeights
from lightning_modules.training.losses import CrossEntropy, MeanSquaredError


class PopulationNetwork:
    """M networks of one architecture, evaluated together by ``vmap`` over :class:`StackedWeights`.

    Args:
        networks: the members' initialised networks; the first one is taken as the template and changed.
        device: where the population is trained.

    Attributes:
        weights: the stacked weights.
    """

    def __init__(self, networks: Sequence[ClassifierNetwork], device: torch.device | None = None) -> None:
        self.template = networks[0]
        self.weights = StackedWeights(networks, device)
        self.device = self.weights.matrix.device
        self.width = self.template.embedding.tokens.embedding_dim
        self.probabilities = replace_dropout(self.template)
        self.template.to(self.device)

    def logits(self, batch: PopulationBatch, seeds: Sequence[int]) -> Tensor:
        """Return the training logits ``(M, B, K)``; ``seeds`` are those of the members' dropout for this batch."""
        masks = draw_masks(self.probabilities, seeds, batch.sizes, self.width, self.device)
        with batchable_attention(self.device), quiet_fallback():
            return vmap(self._member)(self.weights.views, masks, batch.input_ids, batch.attention_mask)

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> Tensor:
        """Return every member's logits ``(M, B, K)`` of one batch, without dropout."""
        input_ids, attention_mask = (batch[name].to(self.device) for name in ("input_ids", "attention_mask"))
        with batchable_attention(self.device), quiet_fallback():
            return vmap(self._member, in_dims=(0, None, None, None))(self.weights.views, {}, input_ids, attention_mask)

    def _member(
        self, weights: dict[str, Tensor], masks: dict[str, Tensor], input_ids: Tensor, attention_mask: Tensor
    ) -> Tensor:
        return functional_call(self.template, {**weights, **masks}, (input_ids, attention_mask))


def member_losses(loss: CrossEntropy | MeanSquaredError, logits: Tensor, batch: PopulationBatch) -> Tensor:
    """Return every member's training loss ``(M,)`` of logits ``(M, B, K)``, over its own rows alone."""
    losses, weights = loss.by_row(logits.flatten(0, 1), batch.labels.flatten())
    losses, weights = (values.view(batch.labels.shape).where(batch.is_row, 0.0) for values in (losses, weights))
    return losses.sum(dim=1) / weights.sum(dim=1)


def batchable_attention(device: torch.device) -> AbstractContextManager[None]:
    """Keep attention on a GPU to plain matrix products: under ``vmap`` the fused kernels' backward refuses its inputs.

    Seen with PyTorch 2.11 as ``LSE is not correctly aligned``, for members of 3 and a mask of padding.
    """
    return nullcontext() if device.type == "cpu" else sdpa_kernel(SDPBackend.MATH)


@contextmanager
def quiet_fallback() -> Iterator[None]:
    """Silence the note that CPU attention has no batching rule: PyTorch then calls its fast kernel once per member."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not yet implemented the batching rule.*")
        yield
