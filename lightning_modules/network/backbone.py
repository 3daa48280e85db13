"""The backbone: embeddings, blocks and final norm of a variant, and the recipes that its paper prescribes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lightning_modules.config import ModelConfig
from lightning_modules.network.block import BlockStack, NoBlocks, build_blocks
from lightning_modules.network.context import Context, KeyValueCache
from lightning_modules.network.embeddings import Embeddings, build_embeddings
from lightning_modules.network.initialisation import initialise, initialise_embeddings
from lightning_modules.network.parts import Function, recipe
from lightning_modules.network.sites import Norm, Site, build_site
from lightning_modules.schemes.place import Place
from lightning_modules.schemes.variants import FINAL, Variant, refuse_causal

NO_HEAD = nn.Identity()
"""The head of a backbone that is used alone."""


class Recipe:
    """What a paper prescribes for a network's start and training. This one prescribes nothing.

    A subclass overrides what its paper asks for. ``head`` is the module that reads the backbone, or an ``nn.Identity``.
    All methods run without gradients.
    """

    def initialise(self, backbone: Backbone, head: nn.Module) -> None:
        """Change the initial weights, after the configured initialisation has drawn them."""

    def prepare(self, backbone: Backbone, input_ids: Tensor, attention_mask: Tensor) -> None:
        """Look at the first training batch ``(B, T)``, before the first step of a new run, without dropout."""

    def factors(self, name: str, parameter: nn.Parameter, backbone: Backbone) -> Mapping[str, float]:
        """Return factors on ``lr``, ``eps`` and ``weight_decay`` of a parameter; a factor that is left out is 1."""
        return {}

    def after_step(self, backbone: Backbone, head: nn.Module) -> None:
        """Change the weights after an optimiser step."""


class Backbone(nn.Module):
    """A Transformer without a head.

    ::

        ids (B, T) or vectors (B, T, D) ──► embeddings ──► blocks ──► final ──► (B, T, D)

    Attributes:
        variant: the scheme that it is built from.
        recipes: what the scheme prescribes about start and training.
        step: optimiser steps taken so far; a checkpoint holds it.
    """

    step: Tensor

    def __init__(
        self,
        embeddings: Embeddings,
        blocks: BlockStack | NoBlocks,
        *,
        final: Site,
        variant: Variant,
        recipes: tuple[Recipe, ...] = (),
    ) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.blocks = blocks
        self.final = final
        self.variant = variant
        self.recipes = recipes
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def forward(
        self,
        inputs: Tensor,
        attention_mask: Tensor | None = None,
        *,
        causal: bool = False,
        segments: Tensor | None = None,
        past: KeyValueCache | None = None,
    ) -> Tensor:
        """Map token ids ``(B, T)``, or vectors ``(B, T, D)`` in their place, to ``(B, T, D)``.

        Args:
            inputs: integers, or floating-point vectors; positions are added to both.
            attention_mask: ``(B, T)``, true or 1 at real tokens; by default all are real.
            causal: whether a token sees only itself and what comes before it.
            segments: ``(B, T)``, the document of each token, if a token may see its own document alone.
            past: keys and values of what was read before ``inputs``; those of ``inputs`` are added to it.

        Raises:
            ConfigurationError: ``causal`` is asked of a scheme that mixes time.
        """
        if causal:
            refuse_causal(self.variant)
        if attention_mask is None:
            attention_mask = torch.ones(inputs.shape[:2], dtype=torch.bool, device=inputs.device)
        context = Context(attention_mask.bool(), causal=causal, step=self.step, segments=segments, past=past)
        x = self.blocks(self.embeddings(inputs, context), context, lambda x: self.final(x, context))
        if past is not None:
            past.length += inputs.shape[1]
        return x

    def matrices(self) -> Iterator[tuple[Place, str, Tensor]]:
        """Yield place, name and values of every weight matrix of the blocks' functions, in drawing order."""
        for place, function in self.functions():
            for name, matrix in function.matrices().items():
                yield place, name, matrix

    def functions(self) -> Iterator[tuple[Place, Function]]:
        """Yield every attention and feed-forward network with its sublayer's place, in order."""
        for sublayer in self.blocks.sublayers():
            for module in sublayer.function.modules():
                if isinstance(module, Function):
                    yield sublayer.place, module

    @torch.no_grad()
    def prepare(self, input_ids: Tensor, attention_mask: Tensor) -> None:
        """Let the recipes see the first training batch, ``(B, T)`` both, without dropout: equal runs start alike."""
        training = self.training
        self.eval()
        for each in self.recipes:
            each.prepare(self, input_ids, attention_mask)
        self.train(training)

    @torch.no_grad()
    def after_step(self, head: nn.Module = NO_HEAD) -> None:
        """Count an optimiser step and let the recipes change the weights, ``head``'s too; call it after every step."""
        self.step += 1
        for each in self.recipes:
            each.after_step(self, head)


def build_backbone(
    variant: str = "pre_ln",
    *,
    vocabulary_size: int | None = None,
    max_length: int = 512,
    padding_id: int | None = None,
    **settings: Any,
) -> Backbone:
    """Build and initialise a backbone of any scheme.

    ::

        backbone = build_backbone("deepnorm", vocabulary_size=1000, layers=12, width=128, heads=8)
        backbone(torch.randint(1000, (2, 20)), causal=True)  # (2, 20, 128)

    Args:
        variant: name of the scheme.
        vocabulary_size: token ids are below it; without it the backbone takes only vectors ``(B, T, width)``.
        max_length: most tokens of a row.
        padding_id: id whose embedding is zero and never learns.
        settings: further fields of :class:`~lightning_modules.config.ModelConfig`, such as ``layers``, ``width``,
            ``heads``, ``dropout``, ``scheme_options``, ``positions``, ``initialisation`` and ``seed``.

    Raises:
        ConfigurationError: a name is unknown or a value is out of range.
    """
    config = ModelConfig(variant=variant, **settings)
    with drawn_from(config.seed):
        backbone = make_backbone(config, vocabulary_size=vocabulary_size, max_length=max_length, padding_id=padding_id)
        initialise_backbone(backbone, config)
        apply_recipes(backbone, NO_HEAD)
    return backbone.to(torch.get_default_dtype())


def make_backbone(
    config: ModelConfig, *, vocabulary_size: int | None, max_length: int, padding_id: int | None
) -> Backbone:
    """Return the backbone of ``config`` with PyTorch's own start."""
    scheme, place = config.scheme, Place(width=config.width, heads=config.heads, sublayers=max(2, 2 * config.depth))
    embeddings = build_embeddings(
        config, vocabulary_size=vocabulary_size, max_length=max_length, padding_id=padding_id, place=place
    )
    backbone = Backbone(
        embeddings,
        build_blocks(config),
        final=build_site(scheme, FINAL, config.width, place),
        variant=scheme,
        recipes=tuple(recipe.find(part)() for part in scheme.recipes),
    )
    if config.norm_epsilon is not None:
        for module in backbone.modules():
            if isinstance(module, Norm) and hasattr(module, "epsilon"):
                module.epsilon = config.norm_epsilon
    return backbone


def initialise_backbone(backbone: Backbone, config: ModelConfig) -> None:
    """Draw the configured initial weights of embeddings and blocks."""
    initialise_embeddings(backbone.embeddings, config.initialisation, config.embedding_std)
    for _, function in backbone.functions():
        initialise(function, config.initialisation, config.initialisation_gain)


@torch.no_grad()
def apply_recipes(backbone: Backbone, head: nn.Module) -> None:
    """Let the scheme's recipes change the initial weights."""
    for each in backbone.recipes:
        each.initialise(backbone, head)


@contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """Draw weights on the CPU from ``seed`` in float32, and leave PyTorch's global generator as it was.

    A trainer may have set another default precision, and other numbers would be drawn in it. Under
    ``torch.device("meta")`` only shapes are made, for counting.
    """
    generator = torch.default_generator
    state = generator.get_state()
    generator.manual_seed(seed)
    precision = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    on_meta = torch.get_default_device().type == "meta"
    try:
        with torch.device("meta" if on_meta else "cpu"):
            yield
    finally:
        torch.set_default_dtype(precision)
        generator.set_state(state)
