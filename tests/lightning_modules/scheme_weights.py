"""What tests of schemes share: weights off their start, and the weights of a sublayer for formulas by hand."""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_modules.schemes.place import Place

Module = TypeVar("Module", bound=nn.Module)


def disturb(module: Module, size: float = 0.05) -> Module:
    """Move every parameter off its start, so that what starts at zero or one takes part."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return module


class Weights:
    """Parameters and buffers of a module by name, and the usual functions of them, computed by PyTorch's alone.

    Of a sublayer it has F as well.
    """

    def __init__(self, module: nn.Module, mask: Tensor, place: Place | None = None) -> None:
        place = module.place if place is None else place
        self.parameters = {**dict(module.named_buffers()), **dict(module.named_parameters(remove_duplicate=False))}
        self.mask, self.place = mask, place
        self.step: int = 0
        self.heads, self.block, self.blocks = place.heads, place.block, place.blocks

    def __getitem__(self, name: str) -> Tensor:
        return self.parameters[name]

    def __contains__(self, name: str) -> bool:
        return name in self.parameters

    def get(self, name: str, default: float) -> Tensor | float:
        return self.parameters.get(name, default)

    @property
    def is_attention(self) -> bool:
        return self.place.role == "attention"

    def ln(self, x: Tensor, name: str) -> Tensor:
        """Layer normalisation with the gain and bias of the norm that is called ``name``."""
        return F.layer_norm(x, x.shape[-1:], self[f"{name}.gain"], self[f"{name}.bias"])

    def rms(self, x: Tensor, name: str = "") -> Tensor:
        """Root mean square normalisation, with the gain of the norm that is called ``name``."""
        return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * (self[f"{name}.gain"] if name else 1)

    def linear(self, x: Tensor, name: str) -> Tensor:
        product = x @ self[f"{name}.weight"].T
        return product + self[f"{name}.bias"] if f"{name}.bias" in self else product

    def f(self, x: Tensor, name: str = "function") -> Tensor:
        """Attention or feed-forward network, whichever the sublayer has."""
        if f"{name}.hidden.weight" in self:
            return self.linear(self.linear(x, f"{name}.hidden").clamp(min=0), f"{name}.output")
        query, key, value = self.projected(x, name)
        return self.joined(self.shares(query @ key.mT / query.shape[-1] ** 0.5) @ value, name)

    def projected(self, x: Tensor, name: str = "function") -> list[Tensor]:
        """Queries, keys and, where there are any, values: ``(B, H, T, d_h)``."""
        parts = self.linear(x, f"{name}.query_key_value")
        return [self.by_head(part) for part in parts.split(x.shape[-1], dim=-1)]

    def shares(self, scores: Tensor) -> Tensor:
        """The softmax over real keys."""
        scores = scores.masked_fill(~self.mask[:, None, None, :], -torch.inf)
        weights = (scores - scores.amax(-1, keepdim=True).detach()).exp()
        return weights / weights.sum(-1, keepdim=True)

    def joined(self, mixed: Tensor, name: str = "function") -> Tensor:
        """The output projection of what the heads have gathered."""
        joined = mixed.transpose(1, 2).flatten(2)
        return self.linear(joined, f"{name}.output") if f"{name}.output.weight" in self else joined

    def by_head(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
