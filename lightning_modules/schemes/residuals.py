"""Residual schemes: how the stream takes up what a sublayer computes.

A scheme is a small module with three methods, its formula in the second::

    open(x)                -> state      start the stream from the embeddings              (B, T, D)
    forward(state, branch) -> state      one sublayer; ``branch(x)`` is F(x) of the formula
    close(state, final)    -> x          what the head sees; ``final`` is the final norm   (B, T, D)

:class:`~lightning_modules.network.sublayer.Residual` is the base and the usual sum. A fixed or learned factor on the
skip or on the branch, or a norm, is an op at a site. It needs no scheme of its own.
"""

from __future__ import annotations

from torch import Tensor

from lightning_modules.network.parts import residual
from lightning_modules.network.sublayer import Branch, Residual
from lightning_modules.schemes.placements import NO_NORM, POST_LN, PRE_LN
from lightning_modules.schemes.variants import register


@residual("none")
class NoResidual(Residual):
    """No skip connection: ``x ← post(F(x))``. The sublayer's output replaces the stream."""

    skips = 0

    def forward(self, state: Tensor, branch: Branch) -> Tensor:
        """Return ``post(F(x))``, ``(B, T, D)``."""
        return branch.post(branch(state))


register(
    POST_LN.derive(
        "no_residual", title="No residual", formula="LN(F(x))", source="ablation of post_ln", residual="none"
    )
)
register(
    PRE_LN.derive(
        "no_residual_pre",
        title="No residual (pre)",
        formula="F(LN(x)), and LN before the head",
        source="ablation of pre_ln",
        residual="none",
    )
)
PLAIN = register(
    NO_NORM.derive(
        "plain",
        title="Plain",
        formula="F(x)",
        source="ablation of no_norm, no_residual and no_residual_pre",
        residual="none",
        also_without=("no_residual", "no_residual_pre"),
    )
)
register(
    PLAIN.derive(
        "bag_of_embeddings",
        title="Bag of embeddings",
        formula="mean of the embeddings, no blocks",
        source="Joulin et al. 2017, arXiv:1607.01759 (linear classifier over averaged embeddings)",
        layers=0,
    )
)
