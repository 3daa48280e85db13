"""The whole network: embedding, blocks, final norm, pooling, head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lightning_modules.config import ModelConfig
from lightning_modules.network.block import BlockStack, NoBlocks, build_blocks, build_norm
from lightning_modules.network.context import Context
from lightning_modules.network.embeddings import POSITIONS, Embedding
from lightning_modules.network.initialisation import (
    BRANCH_GAINS,
    initialise,
    initialise_embeddings,
    scale_branches,
)
from lightning_modules.network.pooling import POOLINGS
from lightning_modules.schemes.variants import EMBEDDING, FINAL


class ClassifierNetwork(nn.Module):
    """A Transformer encoder that classifies rows of tokens.

    ::

        input_ids (B, T) ──► embedding ──► blocks ──► final norm ──► pooling ──► head ──► logits (B, K)
    """

    def __init__(
        self,
        embedding: Embedding,
        blocks: BlockStack | NoBlocks,
        *,
        final_norm: nn.Module,
        pooling: nn.Module,
        head: nn.Linear,
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.blocks = blocks
        self.final_norm = final_norm
        self.pooling = pooling
        self.head = head

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return logits ``(B, K)`` of ``input_ids`` ``(B, T)`` under ``attention_mask`` ``(B, T)`` (True: real)."""
        x = self.blocks(self.embedding(input_ids), Context(attention_mask))
        return self.head(self.pooling(self.final_norm(x), attention_mask))

    def compile_blocks(self, backend: str | Callable[..., Any] = "inductor") -> None:
        """Have ``torch.compile`` translate each block, for rows of any number and length, when it is first called.

        The blocks are alike, so what is compiled for the first serves all, whatever the depth.
        """
        for block in self.blocks.children():
            block.compile(dynamic=True, backend=backend)

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters by depth: ``embedding``, ``block_00`` and so on, ``head`` (with the final norm)."""
        blocks = {f"block_{index:02d}": list(block.parameters()) for index, block in enumerate(self.blocks.children())}
        head = [*self.final_norm.parameters(), *self.head.parameters()]
        return {"embedding": list(self.embedding.parameters()), **blocks, "head": head}


def build_network(
    config: ModelConfig, *, vocabulary_size: int, number_of_classes: int, max_length: int, padding_id: int
) -> ClassifierNetwork:
    """Build and initialise the network of ``config.variant``.

    The weights are a function of ``config`` alone: they are drawn on the CPU from ``config.seed``, and PyTorch's
    global generator is left as it was. Under ``torch.device("meta")`` only shapes are made, for counting.
    """
    generator = torch.default_generator
    state = generator.get_state()
    generator.manual_seed(config.seed)
    on_meta = torch.get_default_device().type == "meta"
    try:
        with torch.device("meta" if on_meta else "cpu"):
            network = ClassifierNetwork(
                Embedding(
                    vocabulary_size,
                    config.width,
                    padding_id,
                    positions=POSITIONS[config.positions](max_length, config.width),
                    norm=build_norm(config.scheme, EMBEDDING, config.width),
                    dropout=config.dropout,
                ),
                build_blocks(config),
                final_norm=build_norm(config.scheme, FINAL, config.width),
                pooling=POOLINGS[config.pooling](),
                head=nn.Linear(config.width, number_of_classes),
            )
            initialise_embeddings(network, config.initialisation, config.embedding_std)
            initialise(network.blocks, config.initialisation, config.initialisation_gain)
            scale_branches(network.blocks, BRANCH_GAINS[config.scheme.branch_gain](max(1, config.depth)))
            initialise(network.head, config.initialisation)
    finally:
        generator.set_state(state)
    return network
