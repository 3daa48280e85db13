"""Networks of others at the size of the task, trained in the bare loop on the same batches.

Same depth, width, heads, feed-forward width and dropout, random weights; every peer keeps its own places of norms. Its
dropout is either at its own places or, ``alike``, where ours is: on the embeddings and on every sublayer's output.

A classifier maps ``input_ids`` (B, T) and ``attention_mask`` (B, T), true at real tokens, to logits (B, K). A language
model maps ``input_ids`` to logits (B, T, V), and reads tokens by the table of its embeddings, as ours does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch.nn.functional as F
from lightning.pytorch import seed_everything
from torch import Tensor, nn

from experiments.benchmark.roster import ALIKE, CAUSAL_LM, CLASSIFICATION, MASKED_LM
from experiments.benchmark.task import BenchmarkTask
from lightning_modules.network.heads import IGNORED
from lightning_modules.training.losses import build_training_loss

Batch = dict[str, Tensor]


class Classifier(nn.Module):
    """What peers that classify share: the task's own training loss.

    Args:
        task: gives every size, and the loss.
    """

    def __init__(self, task: BenchmarkTask) -> None:
        super().__init__()
        self.training_loss = build_training_loss(task.config.model, task.data.facts.class_counts)

    def loss(self, batch: Batch) -> Tensor:
        """Return the training loss of a batch."""
        return self.training_loss(self(batch["input_ids"], batch["attention_mask"]), batch["labels"])


class TorchEncoder(Classifier):
    """``nn.TransformerEncoder`` (Pre-LN) over token and position embeddings; the mean of the real tokens is classified.

    Args:
        task: gives every size.
    """

    def __init__(self, task: BenchmarkTask) -> None:
        super().__init__(task)
        config, facts = task.config.model, task.data.facts
        self.tokens = nn.Embedding(facts.vocabulary_size, config.width, padding_idx=facts.padding_id)
        self.positions = nn.Embedding(facts.max_length, config.width)
        self.dropout = nn.Dropout(config.dropout)
        layer = nn.TransformerEncoderLayer(
            config.width,
            config.heads,
            dim_feedforward=feed_forward_width(task),
            dropout=config.dropout,
            activation=config.activation,
            batch_first=True,
            norm_first=True,
        )
        if task.dropout == ALIKE:
            layer.self_attn.dropout = 0.0  # of attention probabilities
            layer.dropout.p = 0.0  # of hidden units
        self.encoder = nn.TransformerEncoder(
            layer, config.depth, norm=nn.LayerNorm(config.width), enable_nested_tensor=False
        )
        self.head = nn.Linear(config.width, len(facts.class_names))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return logits."""
        x = self.dropout(self.tokens(input_ids) + self.positions.weight[: input_ids.shape[1]])
        x = self.encoder(x, src_key_padding_mask=~attention_mask)
        real = attention_mask[..., None]
        return self.head((x * real).sum(dim=1) / real.sum(dim=1))


class BertLogits(Classifier):
    """``BertForSequenceClassification`` of ``transformers``, reduced to its logits.

    Args:
        task: gives every size.
        attention: the implementation, ``sdpa`` (the package's choice) or ``eager``; also of the peers below.
    """

    def __init__(self, task: BenchmarkTask, attention: str = "sdpa") -> None:
        super().__init__(task)
        self.bert = bert(task, attention)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return logits."""
        return self.bert(input_ids=input_ids, attention_mask=attention_mask).logits


class BertMasked(nn.Module):
    """``BertForMaskedLM`` of ``transformers``, whose loss reads every position's logits, hidden or not."""

    def __init__(self, task: BenchmarkTask, attention: str = "sdpa") -> None:
        super().__init__()
        from transformers import BertForMaskedLM

        self.bert = BertForMaskedLM(bert_sizes(task, attention))

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return logits."""
        return self.bert(input_ids=input_ids, attention_mask=attention_mask).logits

    def loss(self, batch: Batch) -> Tensor:
        """Return BERT's own loss of the hidden tokens, ``IGNORED`` being its mark too."""
        found = self.bert(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=batch["targets"])
        return found.loss


class Gpt2(nn.Module):
    """``GPT2LMHeadModel`` of ``transformers`` (Radford et al. 2019), its weights random.

    Padding, at the end of the last window alone, needs no mask: no real token sees what comes after it.
    """

    def __init__(self, task: BenchmarkTask, attention: str = "sdpa") -> None:
        super().__init__()
        from transformers import GPT2Config, GPT2LMHeadModel

        config, facts = task.config.model, task.data.facts
        sizes = GPT2Config(
            vocab_size=facts.vocabulary_size,
            n_positions=facts.max_length,
            n_embd=config.width,
            n_layer=config.depth,
            n_head=config.heads,
            n_inner=feed_forward_width(task),
            activation_function=config.activation,
            resid_pdrop=config.dropout,
            embd_pdrop=config.dropout,
            attn_pdrop=0.0 if task.dropout == ALIKE else config.dropout,
            use_cache=False,
            bos_token_id=None,
            eos_token_id=None,
            attn_implementation=attention,
        )
        self.gpt2 = GPT2LMHeadModel(sizes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return logits."""
        return self.gpt2(input_ids=input_ids).logits

    def loss(self, batch: Batch) -> Tensor:
        """Return GPT-2's own loss, of targets that are shifted already."""
        targets = batch["targets"]
        return self.gpt2(input_ids=batch["input_ids"], labels=targets, shift_labels=targets).loss


class XTransformersEncoder(Classifier):
    """The encoder of ``x-transformers`` (Pre-LN), the mean over the real tokens; ``flash`` is its fused attention."""

    def __init__(self, task: BenchmarkTask, flash: bool = True) -> None:
        super().__init__(task)
        from x_transformers import Encoder, TransformerWrapper

        config, facts = task.config.model, task.data.facts
        self.network = TransformerWrapper(
            num_tokens=facts.vocabulary_size,
            max_seq_len=facts.max_length,
            attn_layers=Encoder(**x_transformers_layers(task, flash)),
            emb_dropout=config.dropout,
            average_pool_embed=True,
            logits_dim=len(facts.class_names),
        )

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return logits."""
        return self.network(input_ids, mask=attention_mask)


class XTransformersDecoder(nn.Module):
    """The decoder of ``x-transformers`` (Pre-LN); ``flash`` is its fused attention."""

    def __init__(self, task: BenchmarkTask, flash: bool = True) -> None:
        super().__init__()
        from x_transformers import Decoder, TransformerWrapper

        facts = task.data.facts
        self.network = TransformerWrapper(
            num_tokens=facts.vocabulary_size,
            max_seq_len=facts.max_length,
            attn_layers=Decoder(**x_transformers_layers(task, flash)),
            emb_dropout=task.config.model.dropout,
            tie_embedding=True,
        )

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return logits; padding comes last, so no mask is needed."""
        return self.network(input_ids)

    def loss(self, batch: Batch) -> Tensor:
        """Return the cross-entropy that the package's own wrapper for training takes."""
        logits = self(batch["input_ids"], batch["attention_mask"])
        return F.cross_entropy(logits.transpose(1, 2), batch["targets"], ignore_index=IGNORED)


def x_transformers_layers(task: BenchmarkTask, flash: bool) -> dict[str, Any]:
    """Return the settings of an encoder or a decoder of ``x-transformers``.

    By itself it drops attention probabilities and hidden units of the feed-forward network; alike, the sublayers'
    outputs.
    """
    config = task.config.model
    places = (
        ("attn_sublayer_dropout", "ff_sublayer_dropout") if task.dropout == ALIKE else ("attn_dropout", "ff_dropout")
    )
    return {
        "dim": config.width,
        "depth": config.depth,
        "heads": config.heads,
        "attn_dim_head": config.width // config.heads,
        "attn_flash": flash,
        "ff_mult": feed_forward_width(task) / config.width,
        **dict.fromkeys(places, config.dropout),
    }


def bert(task: BenchmarkTask, attention: str = "sdpa") -> Any:
    """Return BERT (Devlin et al. 2018, arXiv:1810.04805) with a classifier, at the task's size, its weights random."""
    from transformers import BertForSequenceClassification

    return BertForSequenceClassification(bert_sizes(task, attention))


def bert_sizes(task: BenchmarkTask, attention: str) -> Any:
    """Return the configuration of a BERT at the task's size."""
    from transformers import BertConfig

    config, facts = task.config.model, task.data.facts
    elsewhere = 0.0 if task.dropout == ALIKE else config.dropout
    return BertConfig(
        vocab_size=facts.vocabulary_size,
        hidden_size=config.width,
        num_hidden_layers=config.depth,
        num_attention_heads=config.heads,
        intermediate_size=feed_forward_width(task),
        hidden_act=config.activation,
        hidden_dropout_prob=config.dropout,
        attention_probs_dropout_prob=elsewhere,
        classifier_dropout=elsewhere,
        max_position_embeddings=facts.max_length,
        pad_token_id=facts.padding_id,
        num_labels=max(1, len(facts.class_names)),  # a language model has none
        attn_implementation=attention,
    )


def feed_forward_width(task: BenchmarkTask) -> int:
    """Return the hidden width of the feed-forward sublayers."""
    return task.config.model.feed_forward_width or 4 * task.config.model.width


PEERS: dict[tuple[str, str], Callable[[BenchmarkTask], nn.Module]] = {
    ("torch_encoder", CLASSIFICATION): TorchEncoder,
    ("hf_bert", CLASSIFICATION): BertLogits,
    ("hf_bert_eager", CLASSIFICATION): partial(BertLogits, attention="eager"),
    ("x_transformers", CLASSIFICATION): XTransformersEncoder,
    ("x_transformers_eager", CLASSIFICATION): partial(XTransformersEncoder, flash=False),
    ("hf_gpt2", CAUSAL_LM): Gpt2,
    ("hf_gpt2_eager", CAUSAL_LM): partial(Gpt2, attention="eager"),
    ("x_transformers", CAUSAL_LM): XTransformersDecoder,
    ("x_transformers_eager", CAUSAL_LM): partial(XTransformersDecoder, flash=False),
    ("hf_bert", MASKED_LM): BertMasked,
    ("hf_bert_eager", MASKED_LM): partial(BertMasked, attention="eager"),
}
"""What builds a peer's network, by side and task."""


def build_peer(name: str, task: BenchmarkTask) -> nn.Module:
    """Return the untrained network of a peer; its weights depend on the configured seed alone."""
    seed_everything(task.config.seed, verbose=False)
    return PEERS[name, task.config.task](task)
