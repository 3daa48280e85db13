"""Networks as models of Hugging Face's ``transformers``: their configuration, and one class for each task.

``experiments.export`` also writes this file, with all that a variant's network uses, as one that needs nothing of ours.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import CausalLMOutput, MaskedLMOutput, SequenceClassifierOutput

from lightning_modules.config import ModelConfig
from lightning_modules.network.backbone import make_backbone
from lightning_modules.network.embeddings import RotaryPositions, SinusoidalPositions
from lightning_modules.network.heads import ClassificationHead, LanguageHead
from lightning_modules.network.network import Network
from lightning_modules.network.sites import build_site
from lightning_modules.schemes.place import Place
from lightning_modules.schemes.variants import LOGITS


class ResNormConfig(PreTrainedConfig):
    """What a network is built from, as ``config.json`` holds it."""

    model_type = "resnorm"

    settings: dict[str, Any] = field(default_factory=dict)
    """Fields of our ``ModelConfig`` that decide the network, by name, the variant first."""
    vocab_size: int = 2
    """Tokens of the vocabulary."""
    hidden_size: int = 64
    num_hidden_layers: int = 0
    num_attention_heads: int = 1
    max_position_embeddings: int = 1
    """Most tokens of a row."""
    pad_token_id: int | None = 0
    zero_padding: bool = True
    """Whether the embedding of the padding token is zero; it is not if the token also ends texts."""
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    next_sentence: bool = False
    """Whether a second output says if one of two spans follows the other."""
    tie_word_embeddings: bool = False
    use_cache: bool = False


def network_of(config: ResNormConfig, head: nn.Module, outputs: int, *, causal: bool) -> Network:
    """Return the network that a configuration describes; weights are to be loaded into it.

    Args:
        config: with its settings.
        head: what reads the backbone.
        outputs: numbers that the head gives.
        causal: whether a token sees only itself and what comes before it.
    """
    settings = ModelConfig(**config.settings)
    backbone = make_backbone(
        settings,
        vocabulary_size=config.vocab_size,
        max_length=config.max_position_embeddings,
        padding_id=config.pad_token_id if config.zero_padding else None,
    )
    place = Place(width=settings.width, heads=settings.heads)
    return Network(backbone, head, logits=build_site(settings.scheme, LOGITS, outputs, place), causal=causal)


class ResNormPreTrainedModel(PreTrainedModel):
    """What the classes of all tasks share: a network, and how its tables are computed when it is loaded."""

    config_class = ResNormConfig
    base_model_prefix = "network"
    main_input_name = "input_ids"
    network: Network

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Compute the tables of positions, which no file holds; all weights come from the file."""
        if isinstance(module, SinusoidalPositions):
            length, width = module.table.shape
            init.copy_(module.table, SinusoidalPositions(length, width).table)
        elif isinstance(module, RotaryPositions):
            length, half = module.angles.shape
            init.copy_(module.angles, RotaryPositions(length, 2 * half).angles)

    def get_input_embeddings(self) -> nn.Module:
        """Return the table of the tokens."""
        return self.network.backbone.embeddings.table

    def vectors(self, inputs: Tensor, attention_mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return what the head sees, ``(B, T, D)``, and the mask ``(B, T)`` as truth values.

        Args:
            inputs: token ids ``(B, T)``, or vectors ``(B, T, D)`` in place of their embeddings.
            attention_mask: ``(B, T)``, 1 at real tokens; by default all are real.

        Raises:
            ValueError: there are more tokens than the network has positions for.
        """
        rows, length = inputs.shape[:2]
        most = self.config.max_position_embeddings
        if not torch.compiler.is_compiling() and length > most:
            raise ValueError(f"a row has {length} tokens, and the network reads {most}")
        if attention_mask is None:
            attention_mask = torch.ones(rows, length, dtype=torch.bool, device=inputs.device)
        mask = attention_mask.bool()
        return self.network.backbone(inputs, mask, causal=self.network.causal), mask


class ResNormForSequenceClassification(ResNormPreTrainedModel):
    """A network that gives each row one of K classes."""

    def __init__(self, config: ResNormConfig) -> None:
        super().__init__(config)
        settings = ModelConfig(**config.settings)
        head = ClassificationHead(settings, config.num_labels)
        self.network = network_of(config, head, config.num_labels, causal=settings.causal)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        **ignored: Any,
    ) -> SequenceClassifierOutput:
        """Return logits ``(B, K)`` and, with labels ``(B,)``, the mean cross-entropy."""
        inputs = input_ids if inputs_embeds is None else inputs_embeds
        assert inputs is not None, "give input_ids or inputs_embeds"
        x, mask = self.vectors(inputs, attention_mask)
        logits = self.network.logits(self.network.head(x, mask))
        loss = None if labels is None else F.cross_entropy(logits.float(), labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


TIED = {"network.head.tokens.weight": "network.backbone.embeddings.table.weight"}


class ResNormForCausalLM(ResNormPreTrainedModel, GenerationMixin):
    """A network that predicts each token from those before it.

    It keeps no keys and values: each step reads all tokens again.
    """

    _tied_weights_keys = TIED

    def __init__(self, config: ResNormConfig) -> None:
        super().__init__(config)
        self.network = network_of(config, language_head(config), config.vocab_size, causal=True)
        if config.tie_word_embeddings:
            read_by(self.network).tie(self.get_input_embeddings())
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        """Return what reads tokens."""
        return read_by(self.network).tokens

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **ignored: Any
    ) -> dict[str, Any]:
        """Return what :meth:`forward` takes at each step of writing on: the whole text."""
        return {"input_ids": input_ids, "attention_mask": attention_mask}

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        **ignored: Any,
    ) -> CausalLMOutput:
        """Return logits ``(B, T, V)`` and, with labels ``(B, T)``, the mean loss of each token's successor."""
        x, _ = self.vectors(input_ids, attention_mask)
        logits = self.network.logits(self.network.head(x))
        loss = None if labels is None else F.cross_entropy(logits[:, :-1].float().mT, labels[:, 1:])
        return CausalLMOutput(loss=loss, logits=logits)


class ResNormForMaskedLM(ResNormPreTrainedModel):
    """A network that predicts hidden tokens from all others."""

    _tied_weights_keys = TIED

    def __init__(self, config: ResNormConfig) -> None:
        super().__init__(config)
        causal = ModelConfig(**config.settings).causal
        self.network = network_of(config, language_head(config), config.vocab_size, causal=causal)
        if config.tie_word_embeddings:
            read_by(self.network).tie(self.get_input_embeddings())
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        """Return what reads tokens."""
        return read_by(self.network).tokens

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        **ignored: Any,
    ) -> MaskedLMOutput:
        """Return logits ``(B, T, V)`` and, with labels ``(B, T)``, -100 where nothing is hidden, their mean loss."""
        x, _ = self.vectors(input_ids, attention_mask)
        logits = self.network.logits(self.network.head(x))
        loss = None if labels is None else F.cross_entropy(logits.float().mT, labels)
        return MaskedLMOutput(loss=loss, logits=logits)


def read_by(network: Network) -> LanguageHead:
    """Return the head of a language model's network."""
    return cast(LanguageHead, network.head)


def language_head(config: ResNormConfig) -> LanguageHead:
    """Return the head of a language model."""
    return LanguageHead(ModelConfig(**config.settings), config.vocab_size, next_sentence=config.next_sentence)
