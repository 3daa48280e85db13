"""Figures of what was measured inside the networks of a grid while they trained, by depth and by step.

By depth a measure has a panel before training and one at the last measurement; by step it has one for the first, the
middle and the last block. A line is a condition, its band the 95 % t-interval over seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from textwrap import fill
from typing import TYPE_CHECKING, Literal

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from experiments.reporting.curves import Band, band_of, spoken_bands
from experiments.reporting.frame import Row
from experiments.reporting.style import GREY, Picture, look_of
from experiments.runs.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_DECADES = 12
"""Decades that a log scale shows; what lies lower is rounding, and would flatten all other lines."""
LEAST_SPAN = 0.01
"""Least height of a linear panel."""
LEAST = 1e-12
"""Smaller values count as rounding of double precision, next to values near 1."""
LABEL_WIDTH, NOTE_WIDTH = 18, 34
"""Characters in one line of a panel's label and of a note in it."""


@dataclass(frozen=True)
class ProbePanel:
    """One measure and how it is drawn."""

    measure: str
    title: str
    log: bool = False
    reference: float | None = None
    """Value that a grey line marks."""
    over: str | None = None
    """Measure by which this one is divided."""

    def relative(self, value: float | None, base: float | None) -> float | None:
        """Return a value of the measure divided by one of ``over``; None if the quotient says nothing."""
        if self.over is None:
            return value
        return value / base if value is not None and base else None


PANELS = (
    ProbePanel("stream_rms", "stream: RMS", log=True),
    ProbePanel("stream_mean", "stream: mean / RMS", reference=0, over="stream_rms"),
    ProbePanel("stream_gradient_norm", "gradient of the stream (L2)", log=True),
    ProbePanel("token_cosine", "cosine between tokens"),
    ProbePanel("rank_one_distance", "distance to rank one", log=True),
    ProbePanel("effective_rank", "effective rank"),
    ProbePanel("kurtosis", "kurtosis of neuron sizes", log=True, reference=1),
    ProbePanel("update_share_attention", "attention: update / stream", log=True, reference=1),
    ProbePanel("update_share_feed_forward", "feed-forward: update / stream", log=True, reference=1),
    ProbePanel("attention_entropy_share", "attention entropy / maximum"),
    ProbePanel("inactive_share", "resting hidden units (share)"),
    ProbePanel("jacobian_largest", "block Jacobian: largest σ", log=True, reference=1),
    ProbePanel("jacobian_median", "block Jacobian: median σ", log=True, reference=1),
    ProbePanel("gradient_norm_attention_query", "gradient of W query (L2)", log=True),
    ProbePanel("gradient_norm_attention_key", "gradient of W key (L2)", log=True),
    ProbePanel("gradient_norm_attention_value", "gradient of W value (L2)", log=True),
    ProbePanel("gradient_norm_attention_output", "gradient of W attention output (L2)", log=True),
    ProbePanel("gradient_norm_feed_forward_hidden", "gradient of W hidden (L2)", log=True),
    ProbePanel("gradient_norm_feed_forward_output", "gradient of W output (L2)", log=True),
    ProbePanel("update_ratio_attention_query", "step / weight: W query", log=True),
    ProbePanel("update_ratio_attention_value", "step / weight: W value", log=True),
    ProbePanel("update_ratio_feed_forward_hidden", "step / weight: W hidden", log=True),
    ProbePanel("update_ratio_feed_forward_output", "step / weight: W output", log=True),
)
PANEL_OF = {panel.measure: panel for panel in PANELS}


@dataclass(frozen=True)
class Theme:
    """Measures that share one figure, and what its title says of one of them."""

    title: str
    subject: str
    """What the measures are of, for the caption."""
    measures: tuple[str, ...]
    lead: str
    """The measure whose greatest and least value over conditions the title names."""
    lead_title: str
    lead_block: Literal["first", "last"] = "last"


THEMES = {
    "signal": Theme(
        "Signal",
        "What the stream carries",
        ("token_cosine", "rank_one_distance", "effective_rank", "stream_rms", "stream_mean", "kurtosis"),
        lead="effective_rank",
        lead_title="effective rank after the last block",
    ),
    "sublayers": Theme(
        "Sublayers",
        "What blocks, attention and feed-forward do to the stream",
        (
            *("jacobian_median", "jacobian_largest", "update_share_attention", "update_share_feed_forward"),
            *("attention_entropy_share", "inactive_share"),
        ),
        lead="jacobian_median",
        lead_title="median σ of the last block's Jacobian",
    ),
    "gradients": Theme(
        "Gradients",
        "Gradients before clipping and steps relative to the weights",
        (
            *("stream_gradient_norm", "gradient_norm_attention_query", "gradient_norm_attention_value"),
            *("gradient_norm_feed_forward_output", "update_ratio_attention_value", "update_ratio_feed_forward_output"),
        ),
        lead="stream_gradient_norm",
        lead_title="gradient of the stream after the first block",
        lead_block="first",
    ),
}
"""The chief measures; records and TensorBoard hold all of them."""


@dataclass(frozen=True)
class PanelColumn:
    """What one column of panels shows."""

    title: str
    points: Callable[[Record, str], dict[float, float | None]]
    """Maps a probed run and a measure to the values along the x axis."""


def by_depth_figure(theme: Theme, rows: Sequence[Row]) -> Picture | None:
    """Draw the measures of a theme against depth, before training and at the last measurement; None without any."""
    probed = [row for row in rows if runs_of(row)]
    if not probed:
        return None
    steps = [step for row in probed for run in runs_of(row) for step in run.history["probes"]["step"]]
    first, last = min(steps), max(steps)  # a run that diverged may have ended before the last
    columns = [
        PanelColumn(f"step {step}" + (" (before training)" if step == 0 else ""), partial(along_depth, step=step))
        for step in dict.fromkeys((first, last))
    ]
    measures = [name for name in theme.measures if not name.startswith("update_ratio")]  # that follows the rate
    return _draw(theme, measures, probed, columns, "depth", last, "blocks below (0: the embedding)")


def by_step_figure(theme: Theme, rows: Sequence[Row]) -> Picture | None:
    """Draw the measures of a theme against the optimiser step, for three blocks; None with fewer than three steps."""
    probed = [row for row in rows if runs_of(row)]
    steps = [run.history["probes"]["step"] for row in probed for run in runs_of(row)]
    if max(map(len, steps), default=0) < 3:
        return None
    columns = [
        PanelColumn(f"{name} block", partial(along_steps, share=share))
        for name, share in (("first", 0.0), ("middle", 0.5), ("last", 1.0))
    ]
    last = max(run_steps[-1] for run_steps in steps)
    return _draw(theme, theme.measures, probed, columns, "step", last, "optimiser steps")


PROBED_FIGURES: dict[str, Callable[[Sequence[Row]], Picture | None]] = {
    f"probed_{name}_by_{kind}": partial(draw, theme)
    for name, theme in THEMES.items()
    for kind, draw in (("depth", by_depth_figure), ("step", by_step_figure))
}


def runs_of(row: Row) -> list[Record]:
    """Return the runs of a row whose records hold measurements of blocks."""
    return [run for run in row.records if blocks_of(run) > 0]


def blocks_of(run: Record) -> int:
    """Return the number of blocks that were measured in a run; 0 where it was not probed."""
    measured = (run.history.get("probes") or {}).get("stream_rms") or [[None]]
    return len(measured[0]) - 1


def along_depth(run: Record, measure: str, *, step: int) -> dict[float, float | None]:
    """Return the values of a measure by the number of blocks below, at one step; empty if it was not measured."""
    probes = run.history["probes"]
    if step not in probes["step"] or measure not in probes:
        return {}
    values = probes[measure][probes["step"].index(step)]
    return {blocks_of(run) + 1 - len(values) + place: value for place, value in enumerate(values)}


def along_steps(run: Record, measure: str, *, share: float) -> dict[float, float | None]:
    """Return the values of a measure by step in the block at ``share`` of the depth; 0: the first one."""
    probes = run.history["probes"]
    place = round((1 - share) * (blocks_of(run) - 1))
    return {
        step: values[len(values) - 1 - place]
        for step, values in zip(probes["step"], probes.get(measure) or [], strict=False)
    }


def points_of(run: Record, panel: ProbePanel, column: PanelColumn) -> dict[float, float | None]:
    """Return the values of a panel's measure along the x axis, divided by the measure that it is relative to."""
    values = column.points(run, panel.measure)
    base = column.points(run, panel.over) if panel.over else {}
    return {x: panel.relative(value, base.get(x)) for x, value in values.items()}


def probe_band(row: Row, panel: ProbePanel, column: PanelColumn) -> Band | None:
    """Return mean and band over the seeds of a row; on a log scale the geometric mean of what is above 0."""
    values: dict[float, list[float]] = {}
    for run in runs_of(row):
        for x, value in points_of(run, panel, column).items():
            if value is not None and (value > 0 or not panel.log):
                values.setdefault(x, []).append(value)
    return band_of(values, geometric=panel.log)


def _draw(
    theme: Theme,
    measures: Sequence[str],
    rows: Sequence[Row],
    columns: Sequence[PanelColumn],
    axis: str,
    last: int,
    x_label: str,
) -> Picture | None:
    bands = {
        measure: [[probe_band(row, PANEL_OF[measure], column) for row in rows] for column in columns]
        for measure in measures
    }
    drawn = [PANEL_OF[measure] for measure, found in bands.items() if any(map(any, found))]
    if not drawn:
        return None
    figure = Figure(figsize=(7.4, 1.4 * len(drawn) + 1.0), layout="constrained")
    grid = figure.subplots(len(drawn), len(columns), sharex=True, sharey="row", squeeze=False)
    for line, panel in zip(grid, drawn, strict=True):
        for axes, found in zip(line, bands[panel.measure], strict=True):
            _draw_panel(axes, panel, rows, found)
        if panel.log:
            scale_logarithmically(line[0])
            for axes, column in zip(line, columns, strict=True):
                name_the_unseen(axes, {row.title: _values(row, panel, column) for row in rows})
        else:
            scale_linearly(line[0])
        line[0].set_ylabel(fill(panel.title, LABEL_WIDTH), fontsize=8)
    for axes, column in zip(grid[0], columns, strict=True):
        axes.set_title(column.title, loc="left", fontsize=9)
    for axes in grid[-1]:
        axes.set_xlabel(x_label, fontsize=8.5)
    labelled = [axes.get_legend_handles_labels() for axes in grid.flat]
    handles = {label: handle for pair in labelled for handle, label in zip(*pair, strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=min(len(handles), 5))
    every_band = [band for found in bands.values() for column in found for band in column if band is not None]
    about = f"{theme.subject} by {axis}, measured inside the networks on the same few training rows."
    lines = f"{spoken_bands(every_band)} On log scales means are geometric, of what is above 0."
    return Picture(figure, _probe_finding(theme, rows, last), f"{about} {lines}")


def _draw_panel(axes: Axes, panel: ProbePanel, rows: Sequence[Row], bands: Sequence[Band | None]) -> None:
    if panel.reference is not None:
        axes.axhline(panel.reference, color=GREY, lw=0.8, ls=":", zorder=1)
    for row, band in zip(rows, bands, strict=True):
        if band is None:
            continue
        look = look_of(row.condition)
        axes.fill_between(band.x, band.low, band.high, color=look.color, alpha=0.15, lw=0)
        axes.plot(
            band.x, band.mean, color=look.color, ls=look.line, marker=look.marker, ms=3.5, lw=1.3, label=row.title
        )
    if not any(bands):
        axes.text(0.5, 0.5, "no values", transform=axes.transAxes, ha="center", va="center", color=GREY, fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.tick_params(which="both", labelsize=7.5)


def _values(row: Row, panel: ProbePanel, column: PanelColumn) -> np.ndarray:
    """Return every value of a measure in the runs of a row, NaN for what is not defined."""
    found = [value for run in runs_of(row) for value in points_of(run, panel, column).values()]
    return np.array([np.nan if value is None else value for value in found], dtype=float)


def _probe_finding(theme: Theme, rows: Sequence[Row], step: int) -> str:
    """Return the conditions with the greatest and the least value of the theme's leading measure, as a sentence."""
    column = PanelColumn("", partial(along_steps, share=0.0 if theme.lead_block == "first" else 1.0))
    ends = []
    for row in rows:
        band = probe_band(row, PANEL_OF[theme.lead], column)
        if band is not None and band.x[-1] == step:
            ends.append((float(band.mean[-1]), row.title))
    if len(ends) < 2:
        return f"{theme.title}, measured up to step {step}"
    said = [
        f"{title} {value:.2g}" if abs(value) >= LEAST else f"{title} below {LEAST:g}"
        for value, title in (max(ends), min(ends))
    ]
    return f"At step {step}, {theme.lead_title}: {', '.join(said)}"


def scale_linearly(axes: Axes) -> None:
    """Show at least ``LEAST_SPAN``: what varies by less is rounding. Numbers are written in full, without an offset."""
    bottom, top = axes.get_ylim()
    if top - bottom < LEAST_SPAN:
        middle = (bottom + top) / 2
        axes.set_ylim(middle - LEAST_SPAN / 2, middle + LEAST_SPAN / 2)
    axes.ticklabel_format(axis="y", useOffset=False)


def scale_logarithmically(axes: Axes) -> None:
    """Use a log scale of one to ``MOST_DECADES`` decades; a short one has plain numbers, also between powers of ten."""
    axes.set_yscale("log")
    bottom, top = axes.get_ylim()
    stretch = max(1.0, (10 * bottom / top) ** 0.5)
    axes.set_ylim(max(bottom / stretch, top / 10**MOST_DECADES), top * stretch)
    if top / bottom < 30:
        axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        axes.yaxis.set_minor_formatter("{x:g}")
        axes.yaxis.set_major_formatter("{x:g}")
    else:
        axes.yaxis.set_minor_formatter(NullFormatter())


def name_the_unseen(axes: Axes, lines: Mapping[str, np.ndarray]) -> None:
    """Write into a log panel which lines are all at 0 or below its axis: they would be silently missing."""
    known = {name: values[~np.isnan(values)] for name, values in lines.items()}
    bottom = axes.get_ylim()[0]
    zero = [name for name, values in known.items() if len(values) and not values.any()]
    below = [name for name, values in known.items() if len(values) and (values < bottom).all() and name not in zero]
    said = [f"{what}: {', '.join(names)}" for what, names in (("zero", zero), ("below", below)) if names]
    if said:
        text = fill("; ".join(said), NOTE_WIDTH)
        axes.text(0.02, 0.02, text, transform=axes.transAxes, va="bottom", color=GREY, fontsize=7)
