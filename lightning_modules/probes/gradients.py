"""Weight matrices by name: the norms of their gradients, and how far an optimiser step moves them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from lightning_modules.network.attention import SelfAttention


@dataclass(frozen=True)
class WeightMatrix:
    """A weight matrix, which may be some rows of a fused one."""

    parameter: Tensor
    first: int = 0
    """First of its rows."""
    end: int | None = None
    """Row after its last; None if it takes all rows that follow."""

    def of(self, value: Tensor) -> Tensor:
        """Return this matrix' part of a tensor of the parameter's shape: its value, its gradient, its change."""
        return value[self.first : self.end]


def weight_matrices(module: nn.Module) -> dict[str, WeightMatrix]:
    """Return the matrix of every ``nn.Linear`` below ``module``, by a name such as ``attention_output``.

    The fused matrix of attention counts as three: ``attention_query``, ``attention_key`` and ``attention_value``.
    """
    fused = {id(part.query_key_value): part.fused for part in module.modules() if isinstance(part, SelfAttention)}
    found: dict[str, WeightMatrix] = {}
    for path, part in module.named_modules():
        if not isinstance(part, nn.Linear):
            continue
        *parents, own = [name for name in path.split(".") if name not in ("function", "parallel")]
        if id(part) not in fused:
            found["_".join([*parents, own])] = WeightMatrix(part.weight)
            continue
        width = part.in_features
        for place, name in enumerate(fused[id(part)]):
            found["_".join([*parents, name])] = WeightMatrix(part.weight, place * width, (place + 1) * width)
    return found


def gradient_norms(module: nn.Module, gradients: Mapping[Tensor, Tensor]) -> dict[str, Tensor]:
    """Return the L2 (Frobenius) norm of the gradient of every weight matrix below ``module``."""
    return {name: matrix.of(gradients[matrix.parameter]).norm() for name, matrix in weight_matrices(module).items()}


def update_ratios(module: nn.Module, before: Mapping[Tensor, Tensor]) -> dict[str, Tensor]:
    """Return ``‖W - W_before‖_F / ‖W_before‖_F`` of every weight matrix below ``module``.

    Args:
        module: with the weights after one optimiser step or several.
        before: the parameters' values before these steps.
    """
    return {
        name: matrix.of(matrix.parameter.detach() - before[matrix.parameter]).norm()
        / matrix.of(before[matrix.parameter]).norm()
        for name, matrix in weight_matrices(module).items()
    }
