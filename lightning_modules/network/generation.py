"""Writing on: a causal language model continues a text token by token."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_modules.errors import ConfigurationError
from lightning_modules.network.attention import SelfAttention
from lightning_modules.network.context import KeyValueCache
from lightning_modules.network.feed_forward import FeedForward
from lightning_modules.network.network import Network


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next token is chosen.

    Raises:
        ConfigurationError: at construction, naming what is out of range.
    """

    temperature: float = 0.0
    """Logits are divided by it; 0 always takes the likeliest token (greedy)."""
    top_k: int | None = None
    """Choose among this many likeliest tokens only (Fan et al. 2018, arXiv:1805.04833)."""
    top_p: float | None = None
    """Choose among the fewest likeliest tokens that have this share together (Holtzman et al. 2019,
    arXiv:1904.09751)."""
    seed: int = 0
    """Seed of the draws."""

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise ConfigurationError(f"temperature is {self.temperature}; it must be at least 0 and finite")
        if self.top_k is not None and self.top_k < 1:
            raise ConfigurationError(f"top_k is {self.top_k}; it must be at least 1")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ConfigurationError(f"top_p is {self.top_p}; it must be above 0 and at most 1")

    def choose(self, logits: Tensor, generator: torch.Generator) -> int:
        """Choose a token by its logits ``(V,)``."""
        if self.temperature == 0:
            return int(logits.argmax())
        return int(torch.multinomial(self.probabilities(logits), 1, generator=generator))

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probability of each token, ``(V,)`` both, in double precision on the CPU."""
        scaled = logits.double().cpu() / self.temperature
        if self.top_k is not None and self.top_k < len(scaled):
            scaled = scaled.masked_fill(scaled < scaled.topk(self.top_k).values[-1], -torch.inf)
        probabilities = scaled.softmax(dim=0)
        if self.top_p is not None:
            ordered, order = probabilities.sort(descending=True, stable=True)
            left_out = order[ordered.cumsum(dim=0) - ordered >= self.top_p]
            probabilities = probabilities.index_fill(0, left_out, 0.0)
        return probabilities / probabilities.sum()


GREEDY = Sampling()
"""Always the likeliest token."""


def why_uncached(network: Network) -> str:
    """Say why a network cannot keep keys and values of what it has read; nothing if it can.

    Keeping them is exact if attention is the usual one, from the keys and values of all earlier tokens.
    """
    for _, function in network.backbone.functions():
        if isinstance(function, FeedForward):
            continue
        usual = isinstance(function, SelfAttention) and all(
            getattr(type(function), name) is getattr(SelfAttention, name) for name in ("forward", "mix")
        )
        if not usual:
            name = network.backbone.variant.name
            return f"the attention of {name} looks at more than keys and values, so every step reads the text anew"
    return ""


@torch.inference_mode()
def continued(
    network: Network,
    ids: Sequence[int],
    count: int,
    sampling: Sampling = GREEDY,
    *,
    forbidden: Collection[int] = (),
    cached: bool = True,
) -> Iterator[int]:
    """Yield the ids of ``count`` further tokens.

    Args:
        network: causal, in evaluation mode.
        ids: what it has to continue, at least one token; with ``count`` at most the network's greatest length.
        count: how many.
        sampling: how they are chosen.
        forbidden: ids that are never chosen.
        cached: whether to keep keys and values of earlier tokens, if the scheme allows it; the answer is the same.
    """
    device = next(network.parameters()).device
    generator = torch.Generator().manual_seed(sampling.seed)
    past = KeyValueCache() if cached and not why_uncached(network) else None
    text, unread = list(ids), list(ids)
    banned = torch.tensor(sorted(forbidden), dtype=torch.long, device=device)
    for _ in range(count):
        inputs = torch.tensor([unread], device=device)
        x = network.backbone(inputs, causal=True, past=past)[:, -1]  # (1, D)
        logits = network.logits(network.head(x, None))[0].float().index_fill(0, banned, -torch.inf)
        token = sampling.choose(logits, generator)
        text.append(token)
        unread = [token] if past is not None else text
        yield token
