"""Snapshots as a figure: a small panel per measure, the value against depth."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.probing.snapshots import Snapshot
from experiments.reporting.probe_panels import (
    PANELS,
    Panel,
    name_the_unseen,
    scale_linearly,
    scale_logarithmically,
)
from experiments.reporting.style import GREY, headline, look_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 4


def depth_figure(snapshots: Sequence[Snapshot]) -> Figure:
    """Draw the first and the last snapshot of every network, a panel per measure that any of them has."""
    subjects = [list(group) for _, group in groupby(snapshots, key=lambda snapshot: snapshot.name)]
    panels = [panel for panel in PANELS if any(has_values(snapshot, panel.measure) for snapshot in snapshots)]
    lines = ceil(len(panels) / COLUMNS)
    figure = Figure(figsize=(10.0, 1.9 * lines + 1.0), layout="constrained")
    grid = figure.subplots(lines, COLUMNS, sharex=True, squeeze=False).flatten()
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    for axes, panel in zip(grid, panels, strict=False):
        _draw_panel(axes, panel, subjects)
    for axes in grid[max(len(panels) - COLUMNS, 0) : len(panels)]:
        axes.tick_params(labelbottom=True)
    figure.supxlabel("blocks below (0: the embedding)", fontsize=9)
    handles = {label: handle for axes in grid for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside upper right", ncols=min(len(handles), 4))
    headline(figure, title_of(subjects))
    return figure


def title_of(subjects: Sequence[Sequence[Snapshot]]) -> str:
    """Return what the figure shows: corpus, and which of its lines are of the start."""
    corpora = ", ".join(dict.fromkeys(snapshots[0].corpus for snapshots in subjects))
    last = [snapshots[-1].step for snapshots in subjects]
    if all(step == 0 for step in last):
        return f"Inside the untrained network, by depth ({corpora})"
    if any(len(snapshots) > 1 for snapshots in subjects):
        steps = ", ".join(dict.fromkeys(str(step) for step in last))
        return f"Inside the network, by depth ({corpora}): step {steps}; thin and pale: step 0"
    return f"Inside the trained network, by depth ({corpora})"


def has_values(snapshot: Snapshot, measure: str) -> bool:
    """Tell whether a snapshot has a value of a measure at any depth."""
    return any(value is not None for value in snapshot.measures.get(measure, []))


def _draw_panel(axes: Axes, panel: Panel, subjects: Sequence[Sequence[Snapshot]]) -> None:
    for snapshots in subjects:
        look, last = look_of(snapshots[-1].condition), snapshots[-1]
        if len(snapshots) > 1:
            axes.plot(*points(snapshots[0], panel), color=look.color, lw=0.8, alpha=0.5)
        axes.plot(
            *points(last, panel), color=look.color, ls=look.line, marker=look.marker, ms=3.5, lw=1.3, label=last.name
        )
    if panel.log:
        scale_logarithmically(axes)
        values = {snapshots[-1].name: values_of(snapshots[-1], panel) for snapshots in subjects}
        name_the_unseen(axes, values)
        if not any((found > 0).any() for found in values.values()):
            axes.set_yticks([])  # else an axis of no meaning
    else:
        scale_linearly(axes)
    if panel.reference is not None:
        axes.axhline(panel.reference, color=GREY, lw=0.8, ls=":", zorder=1)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.set_title(panel.title, loc="left", fontsize=8.5)
    axes.tick_params(which="both", labelsize=7.5)


def values_of(snapshot: Snapshot, panel: Panel) -> np.ndarray:
    """Return the values of a panel's measure by depth, NaN where there is none."""
    return np.array([np.nan if v is None else v for v in snapshot.measures.get(panel.measure, [])], dtype=float)


def points(snapshot: Snapshot, panel: Panel) -> tuple[np.ndarray, np.ndarray]:
    """Return depths and values; on a log scale without values that are zero."""
    values = values_of(snapshot, panel)
    depths = np.arange(snapshot.blocks + 1)[snapshot.blocks + 1 - len(values) :]
    return depths, np.where(values > 0, values, np.nan) if panel.log else values
