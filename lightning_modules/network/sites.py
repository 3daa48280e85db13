"""The sites of a network, and the base of the norms that may be there."""

from __future__ import annotations

from torch import Tensor, nn

from lightning_modules.network.context import Context
from lightning_modules.network.parts import op, own_draws
from lightning_modules.schemes.place import Place
from lightning_modules.schemes.variants import Variant


class Norm(nn.Module):
    """Base of every norm, which tables count. It maps ``(..., width)`` to the same shape; an empty site is not a norm.

    Args:
        width: features that are normalised.
        place: where it is, for norms that differ from place to place.

    Attributes:
        epsilon: ε of a norm that has one; ``model.norm_epsilon`` sets it.
    """

    epsilon: float

    def __init__(self, width: int, place: Place) -> None:
        super().__init__()
        self.width = width

    def extra_repr(self) -> str:
        """Show the width where the module is printed."""
        return str(self.width)


class Site(nn.Sequential):
    """One site of the network: it holds nothing, an op, or several ops in a row."""

    def forward(self, x: Tensor, context: Context | None = None) -> Tensor:
        """Map ``(..., width)`` to the same shape; ops with ``uses_context`` are given the context."""
        for part in self:
            x = part(x, context) if getattr(part, "uses_context", False) else part(x)
        return x


def build_site(variant: Variant, site: str, width: int, place: Place) -> Site:
    """Build what the variant has at ``site``, over ``width`` features."""
    place = place.at(site)
    with own_draws(place):
        return Site(*(op.find(part)(width, place) for part in variant.ops_at(site, place.role)))
