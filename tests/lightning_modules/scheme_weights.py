"""What tests of schemes share: weights off their start, and the weights of a sublayer for formulas by hand."""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.network.sublayer import Sublayer

Module = TypeVar("Module", bound=nn.Module)


def disturb(module: Module, size: float = 0.05) -> Module:
    """Move every parameter off its start, so that what starts at zero or one takes part."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return module


class Weights:
    """The parameters of a sublayer by name, its function F and its norms, computed by PyTorch's functions alone."""

    def __init__(self, sublayer: Sublayer, mask: Tensor) -> None:
        self.parameters = dict(sublayer.named_parameters())
        self.mask = mask
        self.heads, self.block, self.blocks = sublayer.place.heads, sublayer.place.block, sublayer.place.blocks

    def __getitem__(self, name: str) -> Tensor:
        return self.parameters[name]

    def ln(self, x: Tensor, name: str) -> Tensor:
        """Layer normalisation with the gain and bias of the norm that is called ``name``."""
        return F.layer_norm(x, x.shape[-1:], self[f"{name}.gain"], self[f"{name}.bias"])

    def linear(self, x: Tensor, name: str) -> Tensor:
        return x @ self[f"{name}.weight"].T + self[f"{name}.bias"]

    def f(self, x: Tensor) -> Tensor:
        """Attention or feed-forward network, whichever the sublayer has."""
        if "function.hidden.weight" in self.parameters:
            return self.linear(self.linear(x, "function.hidden").clamp(min=0), "function.output")
        query, key, value = (self.by_head(part) for part in self.linear(x, "function.query_key_value").chunk(3, dim=-1))
        scores = query @ key.mT / query.shape[-1] ** 0.5
        weights = scores.exp() * self.mask[:, None, None, :]
        mixed = weights / weights.sum(-1, keepdim=True) @ value
        return self.linear(mixed.transpose(1, 2).flatten(2), "function.output")

    def by_head(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
