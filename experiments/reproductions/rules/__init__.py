"""Rules, one module per published result: from one seed's measured rows to the quantities that thresholds bound."""

from __future__ import annotations

from collections.abc import Callable

from pandas import DataFrame

from experiments.reproductions.rules import (
    adam_stability,
    gradient_by_depth,
    jacobian_isometry,
    rank_collapse,
    stream_variance,
    token_alignment,
    update_size,
)

QUANTITIES: dict[str, Callable[[DataFrame], dict[str, float | None]]] = {
    "gradient_by_depth": gradient_by_depth.quantities,
    "rank_collapse": rank_collapse.quantities,
    "token_alignment": token_alignment.quantities,
    "jacobian_isometry": jacobian_isometry.quantities,
    "adam_stability": adam_stability.quantities,
    "stream_variance": stream_variance.quantities,
    "update_size": update_size.quantities,
}
"""Quantities of one seed, by the name of the measurement."""
