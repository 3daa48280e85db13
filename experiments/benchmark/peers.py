"""Networks of others at the size of the task, trained in the bare loop on the same length-grouped batches.

Same depth, width, heads, feed-forward width and dropout, random weights; every peer keeps its own places
of norms and dropout. All map ``input_ids`` (B, T) and ``attention_mask`` (B, T), true at real tokens, to logits (B, K).
"""

from __future__ import annotations

from typing import Any

from lightning.pytorch import seed_everything
from torch import Tensor, nn

from experiments.benchmark.task import BenchmarkTask


class TorchEncoder(nn.Module):
    """``nn.TransformerEncoder`` (Pre-LN) over token and position embeddings; the mean of the real tokens is classified.

    Args:
        task: gives every size.
    """

    def __init__(self, task: BenchmarkTask) -> None:
        super().__init__()
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


class BertLogits(nn.Module):
    """``BertForSequenceClassification`` of ``transformers``, reduced to its logits."""

    def __init__(self, task: BenchmarkTask) -> None:
        super().__init__()
        self.bert = bert(task)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return logits."""
        return self.bert(input_ids=input_ids, attention_mask=attention_mask).logits


class XTransformersEncoder(nn.Module):
    """The encoder of ``x-transformers`` (Pre-LN) with its flash attention and its mean over the real tokens."""

    def __init__(self, task: BenchmarkTask) -> None:
        super().__init__()
        from x_transformers import Encoder, TransformerWrapper

        config, facts = task.config.model, task.data.facts
        layers = Encoder(
            dim=config.width,
            depth=config.depth,
            heads=config.heads,
            attn_dim_head=config.width // config.heads,
            attn_flash=True,
            attn_dropout=config.dropout,
            ff_mult=feed_forward_width(task) / config.width,
            ff_dropout=config.dropout,
        )
        self.network = TransformerWrapper(
            num_tokens=facts.vocabulary_size,
            max_seq_len=facts.max_length,
            attn_layers=layers,
            emb_dropout=config.dropout,
            average_pool_embed=True,
            logits_dim=len(facts.class_names),
        )

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return logits."""
        return self.network(input_ids, mask=attention_mask)


def bert(task: BenchmarkTask) -> Any:
    """Return BERT (Devlin et al. 2018, arXiv:1810.04805) with a classifier, at the task's size, its weights random."""
    from transformers import BertConfig, BertForSequenceClassification

    config, facts = task.config.model, task.data.facts
    sizes = BertConfig(
        vocab_size=facts.vocabulary_size,
        hidden_size=config.width,
        num_hidden_layers=config.depth,
        num_attention_heads=config.heads,
        intermediate_size=feed_forward_width(task),
        hidden_act=config.activation,
        hidden_dropout_prob=config.dropout,
        attention_probs_dropout_prob=config.dropout,
        max_position_embeddings=facts.max_length,
        pad_token_id=facts.padding_id,
        num_labels=len(facts.class_names),
    )
    return BertForSequenceClassification(sizes)


def feed_forward_width(task: BenchmarkTask) -> int:
    """Return the hidden width of the feed-forward sublayers."""
    return task.config.model.feed_forward_width or 4 * task.config.model.width


PEERS: dict[str, type[nn.Module]] = {
    "torch_encoder": TorchEncoder,
    "hf_bert": BertLogits,
    "x_transformers": XTransformersEncoder,
}


def build_peer(name: str, task: BenchmarkTask) -> nn.Module:
    """Return the untrained network of a peer; its weights depend on the configured seed alone."""
    seed_everything(task.config.seed, verbose=False)
    return PEERS[name](task)
