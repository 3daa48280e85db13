"""Recipes that change the initial weights, and the variants that need them."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from lightning_modules.network.backbone import Backbone, Recipe
from lightning_modules.network.parts import op, recipe
from lightning_modules.schemes.place import Place
from lightning_modules.schemes.placements import POST_LN
from lightning_modules.schemes.pointwise import Constant
from lightning_modules.schemes.variants import SKIP, register

BRANCH = ("attention_value", "attention_output", "feed_forward_hidden", "feed_forward_output")
"""The matrices through which a sublayer's output passes: all but query and key."""


class MatrixGains(Recipe):
    """Multiplies initial matrices by a gain that depends on their place.

    Args:
        gain: the factor at a place.
        names: the matrices, as :meth:`Backbone.matrices` names them.
    """

    def __init__(self, gain: Callable[[Place], float], names: tuple[str, ...] = BRANCH) -> None:
        self.gain = gain
        self.names = names

    def initialise(self, backbone: Backbone, head: nn.Module) -> None:
        """Multiply the named matrices of every sublayer."""
        for place, name, matrix in backbone.matrices():
            if name in self.names:
                matrix.mul_(self.gain(place))


@op("deepnorm_alpha")
def deepnorm_alpha(width: int, place: Place) -> Constant:
    """``α = (2L)^¼`` for L blocks (Wang et al. 2022, arXiv:2203.00555, table 1, encoder-only)."""
    return Constant((2 * place.blocks) ** 0.25)


@recipe("deepnorm_beta")
def deepnorm_beta() -> MatrixGains:
    """``β = (8L)^-¼`` on all branch matrices (Wang et al. 2022, arXiv:2203.00555, figure 2 and table 1)."""
    return MatrixGains(lambda place: (8 * place.blocks) ** -0.25)


register(
    POST_LN.derive(
        "deepnorm",
        title="DeepNorm",
        formula="LN(α·x + F(x)), α = (2L)^¼, branch weights start (8L)^-¼ times as large",
        source="Wang et al. 2022, arXiv:2203.00555, section 3.1",
        sites=POST_LN.sites | {SKIP: "deepnorm_alpha"},
        recipes=("deepnorm_beta",),
    )
)
