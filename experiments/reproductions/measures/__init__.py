"""Measuring functions, one module per published result: a setup and a seed in, one row per measured number out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from experiments.reproductions.measurements import Row
from experiments.reproductions.measures import (
    gradient_by_depth,
    jacobian_isometry,
    rank_collapse,
    stream_variance,
    token_alignment,
    update_size,
)

MEASURES: dict[str, Callable[[Any, int], list[Row]]] = {
    "gradient_by_depth": gradient_by_depth.measure,
    "rank_collapse": rank_collapse.measure,
    "token_alignment": token_alignment.measure,
    "jacobian_isometry": jacobian_isometry.measure,
    "stream_variance": stream_variance.measure,
    "update_size": update_size.measure,
}
"""Measuring functions by name; each takes its own setup of ``setups.py``."""
