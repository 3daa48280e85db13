"""From token vectors to what a task asks for: a class for each row, or a token for each position."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lightning_modules.config import ModelConfig

IGNORED = -100
"""Target of a position at which nothing is predicted."""
MOST_LOGITS = 1 << 23
"""Most logits that are held at a time; if there are more, the backward pass computes them again."""


class MeanPooling(nn.Module):
    """Mean over real tokens; zero for a row without any."""

    def forward(self, x: Tensor, attention_mask: Tensor) -> Tensor:
        """Map ``(B, T, D)`` and the mask ``(B, T)`` to ``(B, D)``."""
        total = x.masked_fill(~attention_mask[..., None], 0.0).sum(dim=1)
        return total / attention_mask.sum(dim=1, keepdim=True).clamp(min=1)


class FirstTokenPooling(nn.Module):
    """The first token's vector, as BERT does (Devlin et al. 2018, arXiv:1810.04805, section 3)."""

    def forward(self, x: Tensor, attention_mask: Tensor) -> Tensor:
        """Map ``(B, T, D)`` to ``(B, D)``; rows are padded at the end, so the first token is real."""
        return x[:, 0]


POOLINGS: dict[str, type[nn.Module]] = {"mean": MeanPooling, "first": FirstTokenPooling}


class ClassificationHead(nn.Module):
    """Pooling over the tokens of a row, then a linear map.

    Args:
        config: gives the pooling and the width D.
        outputs: numbers per row, K.
    """

    def __init__(self, config: ModelConfig, outputs: int) -> None:
        super().__init__()
        self.pooling = POOLINGS[config.pooling]()
        self.linear = nn.Linear(config.width, outputs)

    def forward(self, x: Tensor, attention_mask: Tensor) -> Tensor:
        """Map ``(B, T, D)`` and the mask ``(B, T)`` to ``(B, K)``."""
        return self.linear(self.pooling(x, attention_mask))


class LanguageHead(nn.Module):
    """A logit for every token of the vocabulary: ``W·x``, without a bias.

    W is a matrix of its own, or the table of the embeddings (Press & Wolf 2017, arXiv:1608.05859). From the first
    token's vector a second output says whether the second half of a row follows the first (arXiv:1810.04805, section
    3.1).

    Args:
        config: gives the width D.
        vocabulary_size: V.
        next_sentence: whether there is that second output.
    """

    def __init__(self, config: ModelConfig, vocabulary_size: int, *, next_sentence: bool = False) -> None:
        super().__init__()
        self.vocabulary_size = vocabulary_size
        self.tokens: nn.Module = nn.Linear(config.width, vocabulary_size, bias=False)
        self.sentence = nn.Linear(config.width, 2) if next_sentence else None

    def tie(self, table: nn.Module) -> None:
        """Read tokens by the table of the embeddings, an ``nn.Embedding`` ``(V, D)``, from now on."""
        self.tokens = TiedReader(cast(nn.Embedding, table))

    def forward(self, x: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Map ``(..., D)`` to logits ``(..., V)``; the mask is not needed."""
        return self.tokens(x)

    def of_rows(self, x: Tensor) -> Tensor | None:
        """Map ``(B, T, D)`` to the logits ``(B, 2)`` of the second output; None without one."""
        return None if self.sentence is None else self.sentence(x[:, 0])


class TiedReader(nn.Module):
    """``E·x`` with the table E ``(V, D)`` of the embeddings, whose weight this module shares."""

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__()
        self.weight = table.weight

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., D)`` to ``(..., V)``."""
        return F.linear(x, self.weight)


class TokenAnswers(NamedTuple):
    """What a language model answers for a batch with N targets."""

    losses: Tensor
    """``(N,)`` cross-entropy of each target, in nats, float32."""

    hits: Tensor
    """``(N,)`` bool, whether the most likely token is the target."""

    rows: Tensor | None
    """``(B, 2)`` logits of the second output, if the head has one."""


def token_losses(
    read: Callable[[Tensor], Tensor], x: Tensor, targets: Tensor, vocabulary_size: int
) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy of each target and whether it is the most likely token, ``(N,)`` both.

    Only positions with a target are read. At most ``MOST_LOGITS`` logits exist at a time. For a larger batch they are
    computed piece by piece, and once more in the backward pass. So a token takes the memory of D numbers, not of V.

    Args:
        read: maps vectors ``(n, D)`` to logits ``(n, V)``.
        x: vectors ``(B, T, D)``.
        targets: ``(B, T)``, ``IGNORED`` where nothing is predicted.
        vocabulary_size: V.
    """
    chosen = targets != IGNORED
    vectors, wanted = x[chosen], targets[chosen]  # (N, D), (N,)

    def piece(part: Tensor, of: Tensor) -> tuple[Tensor, Tensor]:
        logits = read(part).float()
        return F.cross_entropy(logits, of, reduction="none"), logits.argmax(dim=-1) == of

    size = max(1, MOST_LOGITS // vocabulary_size)
    if len(wanted) <= size:
        return piece(vectors, wanted)
    parts = []
    for part, of in zip(vectors.split(size), wanted.split(size), strict=True):
        if torch.is_grad_enabled():
            parts.append(checkpoint(piece, part, of, use_reentrant=False, preserve_rng_state=False))
        else:
            parts.append(piece(part, of))
    losses, hits = zip(*parts, strict=True)
    return torch.cat(losses), torch.cat(hits)
