"""A heat map of effects: a shade per effect and corpus, the number on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DARK = 0.6
"""Share of the darkest shade from which the number on it is white."""
NAME_WIDTH, CELL_WIDTH, CELL_HEIGHT = 4.4, 0.75, 0.32
"""Inches."""


@dataclass(frozen=True)
class HeatCell:
    """One effect."""

    value: float
    """What the shade shows; above 0 it is blue."""
    text: str
    is_clear: bool
    """Whether it helps or harms; then its number is bold."""


def heat_figure(
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Mapping[tuple[int, int], HeatCell],
    *,
    limit: float,
    label: str,
    groups: Sequence[int] = (),
) -> Figure:
    """Draw the cells by the place of their row and column.

    Args:
        rows: names of effects.
        columns: names of corpora; the last may be the effect over all.
        cells: by row and column; what lacks one stays white.
        limit: value of the darkest shade.
        label: of the colour bar.
        groups: rows above which a line is drawn.
    """
    from matplotlib.figure import Figure

    values = np.full((len(rows), len(columns)), np.nan)
    for place, cell in cells.items():
        values[place] = cell.value
    size = NAME_WIDTH + CELL_WIDTH * len(columns), 1.3 + CELL_HEIGHT * len(rows)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(values, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
    axes.grid(visible=False)
    axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right", fontsize=8)
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    for row in groups:
        axes.axhline(row - 0.5, color="black", lw=0.8)
    for (row, column), cell in cells.items():
        axes.text(
            *(column, row, cell.text), ha="center", va="center", fontsize=7.5,
            color="white" if abs(cell.value) > DARK * limit else "black",
            fontweight="bold" if cell.is_clear else "normal",
        )  # fmt: skip
    figure.colorbar(image, ax=axes, label=label, extend="both")
    return figure
