"""The weights of all members in one matrix, so that norms, clipping and the optimiser are a few operations each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

from lightning_modules.network.classifier_network import ClassifierNetwork
from lightning_modules.training.optimization import parameter_groups


class StackedWeights:
    """The parameters of M networks of one architecture as rows of a matrix ``(M, P)``, P parameters each.

    Args:
        networks: the initialised networks, one per member; they are copied.
        device: where the matrix lives.

    Attributes:
        matrix: ``(M, P)``, the weights.
        gradient: ``(M, P)``, of the latest :meth:`differentiate`.
        views: per name a leaf tensor ``(M, *shape)`` that shares the memory of ``matrix``.
        parts: columns of embedding, blocks and head, in the order of ``ClassifierNetwork.parts``.
        decayed: ``(P,)`` bool, the columns that weight decay applies to.
    """

    def __init__(self, networks: Sequence[ClassifierNetwork], device: torch.device | None = None) -> None:
        first = networks[0]
        rows = [torch.cat([weight.detach().flatten() for weight in network.parameters()]) for network in networks]
        self.matrix = torch.stack(rows).to(device or rows[0].device)
        self.gradient = torch.zeros_like(self.matrix)
        self.views: dict[str, Tensor] = {}
        start = 0
        for name, weight in first.named_parameters():
            columns, shape = slice(start, start + weight.numel()), (len(networks), *weight.shape)
            self.views[name] = self.matrix[:, columns].view(shape).requires_grad_()
            start += weight.numel()
        self.parts = part_columns(first)
        self.decayed = decayed_columns(first).to(self.matrix.device)

    def differentiate(self, losses: Tensor) -> None:
        """Put every member's gradient of its own loss, of ``losses`` ``(M,)``, into ``gradient``."""
        gradients = torch.autograd.grad(losses.sum(), list(self.views.values()))
        torch.cat([gradient.reshape(len(gradient), -1) for gradient in gradients], dim=1, out=self.gradient)

    def gradient_norms(self) -> tuple[Tensor, Tensor]:
        """Return every member's L2 norm of the gradient, ``(M,)``, and its norms by depth, ``(M, parts)``."""
        parts = torch.stack([self.gradient[:, columns].norm(dim=1) for columns in self.parts.values()], dim=1)
        return parts.norm(dim=1), parts

    def clip(self, norms: Tensor, limit: float) -> None:
        """Scale each member's gradient by ``min(1, limit / (norm + 1e-6))``, as PyTorch clips a solo run's."""
        self.gradient.mul_((limit / (norms + 1e-6)).clamp(max=1.0)[:, None])

    def state_of(self, member: int) -> dict[str, Tensor]:
        """Return a copy of a member's parameters by name, on the CPU."""
        return {name: view.detach()[member].cpu().clone() for name, view in self.views.items()}


def part_columns(network: ClassifierNetwork) -> dict[str, slice]:
    """Return the columns of every part; ``parameters()`` and ``parts()`` list the same parameters in the same order."""
    sizes = {name: sum(weight.numel() for weight in weights) for name, weights in network.parts().items()}
    ends = list(accumulate(sizes.values()))
    return {name: slice(end - size, end) for (name, size), end in zip(sizes.items(), ends, strict=True)}


def decayed_columns(network: ClassifierNetwork) -> Tensor:
    """Return for each of the P parameters whether weight decay applies to it (``optimization.parameter_groups``)."""
    decayed = {
        id(weight) for group in parameter_groups(network, 1.0) if group["weight_decay"] for weight in group["params"]
    }
    return torch.cat([torch.full((weight.numel(),), id(weight) in decayed) for weight in network.parameters()])
