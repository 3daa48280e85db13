"""Figures, one module per published result; every title states what its numbers say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from pandas import DataFrame

from experiments.reporting.style import save_png, settings
from experiments.reproductions.evidence import Result
from experiments.reproductions.figures import (
    adam_stability,
    gradient_by_depth,
    jacobian_isometry,
    rank_collapse,
    stream_variance,
    token_alignment,
    update_size,
)
from experiments.reproductions.figures.parts import Means
from experiments.statistics.seeds import spread

FIGURES: dict[str, Callable[[Any, DataFrame, Means], Figure]] = {
    "gradient_by_depth": gradient_by_depth.draw,
    "rank_collapse": rank_collapse.draw,
    "token_alignment": token_alignment.draw,
    "jacobian_isometry": jacobian_isometry.draw,
    "adam_stability": adam_stability.draw,
    "stream_variance": stream_variance.draw,
    "update_size": update_size.draw,
}
"""Drawing functions by the name of the measurement; each takes its own setup of ``setups.py``."""


def draw_figure(result: Result, path: Path) -> Path:
    """Write the figure of a result and return its path."""
    with matplotlib.rc_context(settings()):
        figure = FIGURES[result.claim.measurement](result.claim.setup, result.rows, mean_quantities(result))
        return save_png(figure, path)


def mean_quantities(result: Result) -> Means:
    """Return the mean over seeds of every quantity of the rule."""
    quantities = result.quantities()
    found: dict[str, float | None] = {}
    for name in quantities[0]:
        values = [of_seed[name] for of_seed in quantities]
        found[name] = spread([value for value in values if value is not None]).mean if None not in values else None
    return found
