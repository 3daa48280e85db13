"""From token vectors to what a task asks for."""

from __future__ import annotations

from torch import Tensor, nn

from lightning_modules.config import ModelConfig


class MeanPooling(nn.Module):
    """Mean over real tokens; zero for a row that has none."""

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
