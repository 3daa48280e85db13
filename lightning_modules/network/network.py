"""The whole network: a backbone and a task's head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from lightning_modules.config import ModelConfig
from lightning_modules.network.backbone import (
    Backbone,
    apply_recipes,
    drawn_from,
    initialise_backbone,
    make_backbone,
)
from lightning_modules.network.block import BlockStack, NoBlocks
from lightning_modules.network.heads import ClassificationHead, LanguageHead, TokenAnswers, token_losses
from lightning_modules.network.initialisation import initialise_linear
from lightning_modules.network.sites import Site, build_site
from lightning_modules.schemes.place import Place
from lightning_modules.schemes.variants import LOGITS, refuse_causal


class Network(nn.Module):
    """A Transformer encoder and the head that reads it.

    ::

        input_ids (B, T) ──► backbone ──► (B, T, D) ──► head ──► logits site ──► the head's output

    Args:
        backbone: the encoder.
        head: any module called as ``head(x, attention_mask)``.
        logits: the variant's site after the head.

    Attributes:
        causal: whether a token sees only itself and what comes before it.
    """

    def __init__(self, backbone: Backbone, head: nn.Module, *, logits: Site, causal: bool = False) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.logits = logits
        self.causal = causal

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the head's output, logits ``(B, K)`` of a classifier, of ids and mask ``(B, T)`` (1: a real token)."""
        attention_mask = attention_mask.bool()  # others give numbers
        x = self.backbone(input_ids, attention_mask, causal=self.causal)
        return self.logits(self.head(x, attention_mask))

    def answers(
        self, input_ids: Tensor, attention_mask: Tensor, targets: Tensor, segments: Tensor | None = None
    ) -> TokenAnswers:
        """Return the loss of every target, without the logits of all tokens at once; the head is a language model's.

        Args:
            input_ids: ``(B, T)``.
            attention_mask: ``(B, T)``, True at real tokens.
            targets: ``(B, T)``, ``IGNORED`` at positions at which nothing is predicted.
            segments: ``(B, T)``, the document of each token, if a token may see its own document alone.
        """
        x = self.backbone(input_ids, attention_mask, causal=self.causal, segments=segments)
        head = cast(LanguageHead, self.head)
        losses, hits = token_losses(lambda part: self.logits(head(part)), x, targets, head.vocabulary_size)
        return TokenAnswers(losses, hits, head.of_rows(x))

    @property
    def blocks(self) -> BlockStack | NoBlocks:
        """The backbone's blocks."""
        return self.backbone.blocks

    def prepare(self, input_ids: Tensor, attention_mask: Tensor) -> None:
        """Let the scheme's recipes look at the first training batch, ids and mask ``(B, T)``."""
        self.backbone.prepare(input_ids, attention_mask)

    def after_step(self) -> None:
        """Count an optimiser step and let the scheme's recipes change the weights; call it after every step."""
        self.backbone.after_step(self.head)

    def compile_blocks(self, backend: str | Callable[..., Any] = "inductor") -> None:
        """Have ``torch.compile`` translate each block at its first call, for rows of any number and length.

        The blocks are alike, so the code compiled for the first one serves all, at any depth.
        """
        for block in self.blocks.children():
            block.compile(dynamic=True, backend=backend)

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters by depth: ``embedding``, ``block_00`` and so on, ``head`` (with the final norm)."""
        blocks = {f"block_{index:02d}": list(block.parameters()) for index, block in enumerate(self.blocks.children())}
        head = [*self.backbone.final.parameters(), *self.head.parameters(), *self.logits.parameters()]
        return {"embedding": list(self.backbone.embeddings.parameters()), **blocks, "head": head}


def build_network(
    config: ModelConfig,
    *,
    vocabulary_size: int,
    outputs: int,
    max_length: int,
    padding_id: int | None,
    head: Callable[[ModelConfig, int], nn.Module] = ClassificationHead,
    causal: bool = False,
) -> Network:
    """Build and initialise the network of ``config.variant``.

    The weights are a function of ``config`` alone: they are drawn on the CPU from ``config.seed``, and PyTorch's
    global generator is left as it was. Under ``torch.device("meta")`` only shapes are made, for counting.

    Args:
        config: variant, sizes, start and seed.
        vocabulary_size: token ids are below it.
        outputs: numbers that the head gives.
        max_length: most tokens of a row.
        padding_id: id of the padding token, whose embedding stays zero.
        head: builds the head from ``config`` and ``outputs``.
        causal: whether a token sees only itself and what comes before it.

    Raises:
        ConfigurationError: the network is to be causal, and its variant mixes in later tokens.
    """
    if causal:
        refuse_causal(config.scheme)
    with drawn_from(config.seed):
        backbone = make_backbone(config, vocabulary_size=vocabulary_size, max_length=max_length, padding_id=padding_id)
        network = Network(
            backbone,
            head(config, outputs),
            logits=build_site(config.scheme, LOGITS, outputs, Place(width=config.width, heads=config.heads)),
            causal=causal,
        )
        initialise_backbone(backbone, config)
        initialise_linear(network.head, config.initialisation)
        if isinstance(network.head, LanguageHead) and config.language_head == "tied":
            network.head.tie(backbone.embeddings.table)
        apply_recipes(backbone, network.head)
    return network.to(torch.get_default_dtype())
