"""Depth profiles as a figure: a small panel per measure, the value against depth."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.reporting.probed import (
    PANELS,
    ProbePanel,
    name_the_unseen,
    scale_linearly,
    scale_logarithmically,
)
from experiments.reporting.style import GREY, look_of
from experiments.studies.depth_profile import DepthProfile
from experiments.studies.drawing import study_figure
from experiments.studies.study import StudyFigure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 4
LEADING = ("effective_rank", "token_cosine", "stream_rms")
"""Measures that a title may speak of, the first that every network has."""


def depth_figure(profiles: Sequence[DepthProfile]) -> StudyFigure:
    """Draw the first and the last profile of every network, a panel per measure that any of them has.

    The title is the finding; without one it is the caption, which names the corpus and says which lines are of the
    start.
    """
    subjects = [list(group) for _, group in groupby(profiles, key=lambda profile: profile.name)]
    panels = [panel for panel in PANELS if any(has_values(profile, panel.measure) for profile in profiles)]
    lines = ceil(len(panels) / COLUMNS)
    figure = Figure(figsize=(10.0, 1.9 * lines + 1.0), layout="constrained")
    grid = figure.subplots(lines, COLUMNS, sharex=True, squeeze=False).flatten()
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    for axes, panel in zip(grid, panels, strict=False):
        _draw_panel(axes, panel, subjects)
    for axes in grid[max(len(panels) - COLUMNS, 0) : len(panels)]:
        axes.tick_params(labelbottom=True)
    handles = {label: handle for axes in grid for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside upper right", ncols=min(len(handles), 4))
    caption = caption_of(subjects)
    figure.supxlabel(f"blocks below (0: the embedding)\n{caption}", fontsize=9)
    return study_figure(figure, finding([profiles[-1] for profiles in subjects]) or caption, caption)


def caption_of(subjects: Sequence[Sequence[DepthProfile]]) -> str:
    """Say what is drawn: corpus, steps, and which lines are of the start."""
    corpora = ", ".join(dict.fromkeys(profiles[0].corpus for profiles in subjects))
    last = [profiles[-1].step for profiles in subjects]
    if all(step == 0 for step in last):
        return f"Inside the untrained network, by depth ({corpora})"
    if any(len(profiles) > 1 for profiles in subjects):
        steps = ", ".join(dict.fromkeys(str(step) for step in last))
        return f"Inside the network, by depth ({corpora}): step {steps}; thin and pale: step 0"
    return f"Inside the trained network, by depth ({corpora})"


def finding(profiles: Sequence[DepthProfile]) -> str:
    """Say how the leading measure that all have ends: its change with depth in one network, both ends of several.

    Empty if no leading measure has a value after the last block.
    """
    for measure in LEADING:
        values = {profile.name: _known(profile, measure) for profile in profiles}
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


def _known(profile: DepthProfile, measure: str) -> list[float]:
    """Return the values by depth without gaps; none if the last block has no value."""
    values = profile.measures.get(measure) or [None]
    return [] if values[-1] is None else [value for value in values if value is not None]


def has_values(profile: DepthProfile, measure: str) -> bool:
    """Tell whether a profile has a value of a measure at any depth."""
    return any(value is not None for value in profile.measures.get(measure, []))


def _draw_panel(axes: Axes, panel: ProbePanel, subjects: Sequence[Sequence[DepthProfile]]) -> None:
    for profiles in subjects:
        look, last = look_of(profiles[-1].condition), profiles[-1]
        if len(profiles) > 1:
            axes.plot(*points(profiles[0], panel), color=look.color, lw=0.8, alpha=0.5)
        axes.plot(
            *points(last, panel), color=look.color, ls=look.line, marker=look.marker, ms=3.5, lw=1.3, label=last.name
        )
    if panel.log:
        scale_logarithmically(axes)
        values = {profiles[-1].name: values_of(profiles[-1], panel) for profiles in subjects}
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


def values_of(profile: DepthProfile, panel: ProbePanel) -> np.ndarray:
    """Return the values of a panel's measure by depth, NaN for one that is not defined."""
    found = profile.measures.get(panel.measure, [])
    base = profile.measures.get(panel.over, []) if panel.over else [None] * len(found)
    relative = [panel.relative(value, below) for value, below in zip(found, base, strict=False)]
    return np.array([np.nan if value is None else value for value in relative], dtype=float)


def points(profile: DepthProfile, panel: ProbePanel) -> tuple[np.ndarray, np.ndarray]:
    """Return depths and values; on a log scale without values that are zero."""
    values = values_of(profile, panel)
    depths = np.arange(profile.blocks + 1)[profile.blocks + 1 - len(values) :]
    return depths, np.where(values > 0, values, np.nan) if panel.log else values
