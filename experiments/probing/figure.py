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
LEADING = ("effective_rank", "token_cosine", "stream_rms")
"""Measures that a title may speak of, the first that every network has."""


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
    """Return what was found after the last block, and what is drawn: corpus, and which lines are of the start."""
    corpora = ", ".join(dict.fromkeys(snapshots[0].corpus for snapshots in subjects))
    last = [snapshots[-1].step for snapshots in subjects]
    if all(step == 0 for step in last):
        drawn = f"Inside the untrained network, by depth ({corpora})"
    elif any(len(snapshots) > 1 for snapshots in subjects):
        steps = ", ".join(dict.fromkeys(str(step) for step in last))
        drawn = f"Inside the network, by depth ({corpora}): step {steps}; thin and pale: step 0"
    else:
        drawn = f"Inside the trained network, by depth ({corpora})"
    found = finding([snapshots[-1] for snapshots in subjects])
    return f"{found}\n{drawn}" if found else drawn


def finding(snapshots: Sequence[Snapshot]) -> str:
    """Return how the leading measure that all have ends: its change with depth in one network, both ends of several.

    Empty where no leading measure has a value after the last block.
    """
    for measure in LEADING:
        values = {snapshot.name: _known(snapshot, measure) for snapshot in snapshots}
        if not all(values.values()):
            continue
        title = next(panel.title for panel in PANELS if panel.measure == measure)
        if len(values) == 1:
            ((name, known),) = values.items()
            return f"{name}, {title}: from {known[0]:.3g} at the bottom to {known[-1]:.3g} after the last block"
        most, least = (pick(values, key=lambda name: values[name][-1]) for pick in (max, min))
        ends = f"highest in {most} ({values[most][-1]:.3g}), lowest in {least} ({values[least][-1]:.3g})"
        return f"After the last block {title} is {ends}"
    return ""


def _known(snapshot: Snapshot, measure: str) -> list[float]:
    """Return the values by depth without gaps; none where the last block has no value."""
    values = snapshot.measures.get(measure) or [None]
    return [] if values[-1] is None else [value for value in values if value is not None]


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
    found = snapshot.measures.get(panel.measure, [])
    base = snapshot.measures.get(panel.over, []) if panel.over else [None] * len(found)
    relative = [panel.relative(value, below) for value, below in zip(found, base, strict=False)]
    return np.array([np.nan if value is None else value for value in relative], dtype=float)


def points(snapshot: Snapshot, panel: Panel) -> tuple[np.ndarray, np.ndarray]:
    """Return depths and values; on a log scale without values that are zero."""
    values = values_of(snapshot, panel)
    depths = np.arange(snapshot.blocks + 1)[snapshot.blocks + 1 - len(values) :]
    return depths, np.where(values > 0, values, np.nan) if panel.log else values
