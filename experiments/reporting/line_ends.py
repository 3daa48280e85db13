"""Curves that are named where they end, and the part of an axis where they crowd."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from experiments.reporting.render import rounded
from experiments.reporting.style import look_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEAST_GAP = 0.062
"""Distance between two labels, as a share of the height of a panel."""
CROWDED = 0.1
"""Distance below the best within which scores crowd."""
FEWEST_CROWDED = 0.4
"""Share of the scores that must lie there for an enlarged panel."""
LEAST_SPAN = 3
"""Span of all scores over that distance from which an enlarged panel shows more."""


@dataclass(frozen=True)
class End:
    """The end of a curve."""

    label: str
    condition: str
    x: float | None
    """Its place on the axis; None for a line across the panel."""
    y: float


def crowded_part(scores: Sequence[float]) -> tuple[float, float] | None:
    """Return the limits of an axis that enlarges the upper part, where many scores lie close; None where they do not.

    Args:
        scores: the means that are drawn.
    """
    best = max(scores)
    close = [score for score in scores if score >= best - CROWDED]
    if best - min(scores) < LEAST_SPAN * CROWDED or len(close) < FEWEST_CROWDED * len(scores):
        return None
    return best - CROWDED, best + 0.4 * CROWDED


def label_ends(axes: Axes, ends: Sequence[End]) -> None:
    """Write name and score right of the panel at the height of every end that it shows, moved apart where they meet."""
    bottom, top = axes.get_ylim()
    shown = sorted((end for end in ends if bottom <= end.y <= top), key=lambda end: end.y)
    heights = spread_out([(end.y - bottom) / (top - bottom) for end in shown])
    for end, height in zip(shown, heights, strict=True):
        look = look_of(end.condition)
        marker = "" if end.x is None else look.marker
        start = (1.0, (end.y - bottom) / (top - bottom))
        axes.plot(
            [start[0], 1.03, 1.09], [start[1], height, height], transform=axes.transAxes, clip_on=False,
            color=look.color, ls="-" if marker else look.line, lw=0.9, marker=marker, markevery=[2], ms=4.5, mew=0,
        )  # fmt: skip
        axes.text(1.11, height, f"{end.label} {rounded(end.y)}", transform=axes.transAxes, va="center", fontsize=8)


def spread_out(heights: Sequence[float]) -> list[float]:
    """Return sorted heights moved as little as needed to lie ``LEAST_GAP`` apart, by least squares.

    Pool-adjacent-violators on the heights less their least distances (Ayer et al. 1955).
    """
    pools: list[list[float]] = []
    for place, height in enumerate(heights):
        pools.append([height - place * LEAST_GAP])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            last = pools.pop()
            pools[-1].extend(last)
    means = [float(np.mean(pool)) for pool in pools for _ in pool]
    return [mean + place * LEAST_GAP for place, mean in enumerate(means)]
