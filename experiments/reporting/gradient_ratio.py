"""Whether gradients vanish or explode on their way down, at every setting of a sweep: what claims 1 and 4 rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from experiments.reporting.curves import Band, seed_band, spoken_bands
from experiments.reporting.frame import Row
from experiments.reporting.panels import PANEL_COLUMNS, draw_band, label_outer, make_panels
from experiments.reporting.render import spoken_setting
from experiments.reporting.sentences import ratio_title
from experiments.reporting.style import GREY, Picture, look_of
from experiments.runs.canonical import canonical_json
from experiments.runs.gradient_ratio import EXPLODING, VANISHING, log_gradient_ratios
from experiments.runs.naming import sort_key

ROOM = 3.0
"""Factor that the axis reaches beyond all means; a wider band is cut there."""


def ratio_figure(rows: Sequence[Row]) -> Picture | None:
    """Draw the first block's gradient norm over the last one's while training, a panel per setting of what is swept.

    Means and intervals are those of logarithms. Of two swept settings one runs along the lines of panels and one along
    the columns. None where no run has two blocks and kept gradient norms.
    """
    drawn = [(row, band) for row in rows if (band := _band(row)) is not None]
    if not drawn:
        return None
    places, columns = _layout([row.swept for row, _ in drawn])
    figure, grid = make_panels(max(places.values()) + 1, width=2.9, height=2.1, share=True, columns=columns)
    for row, band in drawn:
        look, axes = look_of(row.condition), grid[places[spoken_setting(row.swept)]]
        draw_band(axes, band, color=look.color, ls=look.line, lw=1.4, label=row.title)
    for place, axes in enumerate(grid):
        axes.set_visible(place in places.values())
        for limit in (VANISHING, EXPLODING):
            axes.axhline(limit, color=GREY, lw=0.9, ls=":")
    for setting, place in places.items():
        grid[place].set_title(setting.replace(", ", "\n"), loc="left", fontsize=8)
    grid[0].set_yscale("log")
    means = [VANISHING, EXPLODING, *(float(pick(band.mean)) for _, band in drawn for pick in (np.min, np.max))]
    grid[0].set_ylim(min(means) / ROOM, max(means) * ROOM)
    label_outer(grid, "optimiser steps", "gradient norm,\nfirst / last block", columns)
    labelled = {label: line for axes in grid for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(labelled.values(), labelled.keys(), loc="outside right center")
    about = "Gradient norm of the first block over the last one's while training, before clipping, at every setting."
    limits = f"Dotted: vanishing ({VANISHING:g}) and exploding ({EXPLODING:g})."
    bands = spoken_bands([band for _, band in drawn], geometric=True)
    rule = "The title compares medians over training, then means over seeds."
    return Picture(figure, ratio_title([row for row, _ in drawn]), f"{about} {bands} {limits} {rule}")


def _layout(settings: Sequence[Mapping[str, Any]]) -> tuple[dict[str, int], int]:
    """Return the place of every setting's panel, counted along lines, and the number of columns.

    Where everything is swept over two or more names, the one with most values runs along the columns; else panels
    follow each other in lines of three.
    """
    spoken = {spoken_setting(swept): swept for swept in settings}
    names = sorted({name for swept in settings for name in swept})
    values = {
        name: sorted({canonical_json(swept.get(name)): swept.get(name) for swept in settings}.values(), key=sort_key)
        for name in names
    }
    varied = [name for name in names if len(values[name]) > 1]
    if len(varied) < 2 or any(name not in swept for swept in settings for name in varied):
        return {setting: place for place, setting in enumerate(spoken)}, PANEL_COLUMNS
    across = max(varied, key=lambda name: len(values[name]))
    down = [name for name in varied if name != across]
    lines = [dict(zip(down, found, strict=True)) for found in product(*(values[name] for name in down))]
    width = len(values[across])
    return {
        setting: lines.index({name: swept[name] for name in down}) * width + values[across].index(swept[across])
        for setting, swept in spoken.items()
    }, width


def _band(row: Row) -> Band | None:
    """Return the ratio by step over seeds, averaged as logarithms."""
    ratios = [log_gradient_ratios(record) for record in row.records]
    histories = [{"step": list(found), "ratio": [10**value for value in found.values()]} for found in ratios]
    return seed_band(histories, "step", "ratio", geometric=True)
