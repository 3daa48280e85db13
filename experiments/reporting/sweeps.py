"""Figures along a swept number, such as depth: the score with its interval, and how often training failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from experiments.reporting.curves import SweptCurve, SweptPanel, panels_along
from experiments.reporting.frame import Row, covered
from experiments.reporting.line_ends import End, crowded_part, label_ends
from experiments.reporting.panels import PANEL_COLUMNS, make_panels
from experiments.reporting.render import spoken_name
from experiments.reporting.sentences import failure_title, sweep_sentences
from experiments.reporting.style import Picture, beside, look_of
from experiments.runs.naming import spell

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Transform

SIDE = 0.06
"""Room left and right of the values, as a share of their span."""
LEAST_HEIGHT = 0.05
"""Span of scores from which an axis shows no more than they need."""
MOST_END_LABELS = 12
"""Curves and baselines up to which each is named where it ends; beyond, a legend does."""


def score_figure(name: str, rows: Sequence[Row]) -> Picture | None:
    """Draw the mean primary test metric along a swept number with its 95 % interval; baselines as lines.

    One panel names its curves where they end, and where most of them crowd near the best a second one shows that part.
    """
    panels = panels_along(name, rows)
    curves = [(panel, curve) for panel in panels for curve in panel.curves if any(row.scored for row in curve.rows)]
    if not curves:
        return None
    metric = rows[0].task.primary_metric
    zoom = crowded_part([mean for _, curve in curves for mean in means_of(curve.rows)]) if len(panels) == 1 else None
    drawn = [panels[0], panels[0]] if zoom else panels
    figure, grid = make_panels(
        len(drawn), width=5.6, height=3.4, share=not zoom, share_x=True, columns=1 if zoom else PANEL_COLUMNS
    )
    for axes, panel in zip(grid, drawn, strict=True):
        for place, curve in enumerate(panel.curves):
            _draw_scores(axes, curve, beside(figure, axes, place, len(panel.curves)))
        for row in panel.lines:
            _draw_line(axes, row)
        _finish(axes, panel, f"{metric.title} on the test split")
        axes.set_ylim(*_limits(panels, metric.bounds))
    if zoom:
        grid[0].set_ylim(*zoom)
    if len(panels) == 1 and len(panels[0].curves) + len(panels[0].lines) <= MOST_END_LABELS:
        for axes in grid:
            label_ends(axes, _ends(panels[0]))
        figure.supxlabel(spoken_name(name), fontsize=9)
    else:
        _label(figure, grid, spoken_name(name))
    intervals = any(row.score.low is not None for _, curve in curves for row in curve.rows)
    title, said = sweep_sentences(name, panels)
    bars = f"Points: mean over seeds; bars, side by side: 95 % interval over {covered(rows)}."
    marks = bars if intervals else "Points: one seed."
    lines = ["Lines without markers: baselines."] if any(panel.lines for panel in panels) else []
    notes = [f"Mean test {metric.title} along a swept value.", *said, marks, *lines]
    return Picture(figure, title, " ".join([*notes, *(["The upper panel is enlarged."] if zoom else [])]))


def failure_figure(name: str, rows: Sequence[Row]) -> Picture | None:
    """Draw the share of runs that collapsed or diverged along a swept number; None where none did."""
    panels = panels_along(name, rows)
    if not any(row.failures for panel in panels for curve in panel.curves for row in curve.rows):
        return None
    figure, grid = make_panels(len(panels), width=5.6, height=3.0, share=True)
    for axes, panel in zip(grid, panels, strict=True):
        for place, curve in enumerate(panel.curves):
            look = look_of(curve.condition)
            shares = [row.failures / len(row.records) for row in curve.rows]
            aside = beside(figure, axes, place, len(panel.curves), step=3.0)  # equal shares stay visible
            axes.plot(
                *(curve.values, shares),
                transform=aside,
                color=look.color,
                ls=look.line,
                label=curve.label,
                marker=look.marker,
                ms=5,
            )
        axes.set_ylim(-0.06, 1.06)
        _finish(axes, panel, "share that collapsed or diverged")
    _label(figure, grid, spoken_name(name))
    about = "Share of runs that collapsed or diverged along a swept value. Equal shares are drawn side by side."
    return Picture(figure, failure_title(rows), about)


def means_of(rows: Sequence[Row]) -> list[float]:
    """Return the mean score of every row that has scores."""
    return [mean for row in rows if (mean := row.score.mean) is not None]


def _draw_scores(axes: Axes, curve: SweptCurve, aside: Transform) -> None:
    look = look_of(curve.condition)
    spreads, bounds = [row.score for row in curve.rows], curve.rows[0].task.primary_metric.bounds
    points = [
        (value, s.mean, s.mean if s.low is None else s.low, s.mean if s.high is None else s.high)
        for value, s in zip(curve.values, spreads, strict=True)
        if s.mean is not None
    ]
    if not points:
        return
    x, means, low, high = (np.array(column) for column in zip(*points, strict=True))
    axes.vlines(x, low.clip(*bounds), high.clip(*bounds), color=look.color, lw=1.1, alpha=0.75, transform=aside)
    axes.plot(
        *(x, means), transform=aside, color=look.color, ls=look.line, marker=look.marker, ms=5, lw=1.2, mew=0.4,
        mec="white", label=curve.label,
    )  # fmt: skip


def _draw_line(axes: Axes, row: Row) -> None:
    mean = row.score.mean
    if mean is not None:
        look = look_of(row.condition)
        axes.axhline(mean, color=look.color, ls=look.line, lw=1.2, label=row.title)


def _ends(panel: SweptPanel) -> list[End]:
    """Return where the curves and the baselines of a panel end, and what they are called."""
    lines = [End(row.title, row.condition, None, mean) for row in panel.lines for mean in means_of([row])]
    scored = [
        End(curve.label, curve.condition, curve.values[-1], mean)
        for curve in panel.curves
        for mean in means_of(curve.rows[-1:])
    ]
    return [*scored, *lines]


def _limits(panels: Sequence[SweptPanel], bounds: tuple[float, float]) -> tuple[float, float]:
    """Return limits of an axis of scores that show every interval as far as scores can lie."""
    rows = [row for panel in panels for row in [*panel.lines, *(row for curve in panel.curves for row in curve.rows)]]
    spreads = [spread for row in rows if (spread := row.score).mean is not None]
    ends = [end for spread in spreads for end in (spread.mean, spread.low, spread.high) if end is not None]
    low, high = max(min(ends), bounds[0]), min(max(ends), bounds[1])
    margin = 0.05 * max(high - low, LEAST_HEIGHT)
    return low - margin, high + margin


def _finish(axes: Axes, panel: SweptPanel, what: str) -> None:
    values = sorted({value for curve in panel.curves for value in curve.values})
    if values[0] > 0 and values[-1] / values[0] >= 8:
        axes.set_xscale("log")
        axes.minorticks_off()
        margin = (values[-1] / values[0]) ** SIDE
        axes.set_xlim(values[0] / margin, values[-1] * margin)
    else:
        margin = (values[-1] - values[0]) * SIDE
        axes.set_xlim(values[0] - margin, values[-1] + margin)
    axes.set_xticks(values, [spell(int(value) if value.is_integer() else value) for value in values])
    axes.set_title(panel.title, loc="left")
    axes.set_ylabel(what)


def _label(figure: Figure, panels: Sequence[Axes], x: str) -> None:
    figure.supxlabel(x, fontsize=9)
    labelled = {label: line for axes in panels for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(labelled.values(), labelled.keys(), loc="outside right center")
