"""Figures along swept values, such as depth.

They show the score with its interval, how often training failed, and whether the gradient reached the first block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.reporting.curves import Band, SweptCurve, SweptPanel, panels_along, seed_band, spoken_bands
from experiments.reporting.frame import Row, covered
from experiments.reporting.panels import PANEL_COLUMNS, draw_band, label_outer, make_panels
from experiments.reporting.render import rounded, spoken_name, spoken_setting
from experiments.reporting.sentences import failure_title, ratio_title, sweep_sentences
from experiments.reporting.style import GREY, Picture, beside, look_of
from experiments.runs.canonical import canonical_json
from experiments.runs.gradient_ratio import EXPLODING, VANISHING, log_gradient_ratios
from experiments.runs.naming import sort_key, spell

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Transform


LEAST_GAP = 0.062
"""Distance between two labels, as a share of the height of a panel."""
CROWDED = 0.1
"""Scores within this distance below the best are crowded."""
FEWEST_CROWDED = 0.4
"""Share of the scores that must be crowded for an enlarged panel."""
LEAST_SPAN = 3
"""Span of all scores over that distance from which an enlarged panel shows more."""


@dataclass(frozen=True)
class End:
    """The end of a curve."""

    label: str
    condition: str
    x: float | None
    """Place of the end on the axis; None for a line across the panel."""
    y: float


def crowded_part(scores: Sequence[float]) -> tuple[float, float] | None:
    """Return the limits of an axis that enlarges the upper part, where many scores lie close; None if they do not.

    Args:
        scores: the means that are drawn.
    """
    best = max(scores)
    close = [score for score in scores if score >= best - CROWDED]
    if best - min(scores) < LEAST_SPAN * CROWDED or len(close) < FEWEST_CROWDED * len(scores):
        return None
    return best - CROWDED, best + 0.4 * CROWDED


def label_ends(axes: Axes, ends: Sequence[End]) -> None:
    """Write name and score right of the panel at the height of every end that it shows, moved apart if they overlap."""
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


SIDE = 0.06
"""Room left and right of the values, as a share of their span."""
LEAST_HEIGHT = 0.05
"""Span of scores from which an axis shows no more than they need."""
MOST_END_LABELS = 12
"""Most curves and baselines that are each named where they end; for more there is a legend."""


def score_figure(name: str, rows: Sequence[Row]) -> Picture | None:
    """Draw the mean primary test metric along a swept number with its 95 % interval; baselines as lines.

    A single panel names its curves where they end. If most of them crowd near the best, a second panel shows that part.
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
    """Draw the share of runs that collapsed or diverged along a swept number; None if none did."""
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


ROOM = 3.0
"""Factor that the axis reaches beyond all means; a wider band is cut there."""


def ratio_figure(rows: Sequence[Row]) -> Picture | None:
    """Draw the first block's gradient norm over the last one's while training, a panel per setting of what is swept.

    Means and intervals are those of logarithms. Of two swept settings one runs along the lines of panels and one along
    the columns. None if no run has two blocks and kept gradient norms.
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
