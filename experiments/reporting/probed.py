"""Figures of what was measured inside the networks of a grid while they trained, by depth and by step.

By depth a measure has a panel before training and one at the last measurement, by step one for the first, the middle
and the last block; a line is a condition, its band the 95 % t-interval over seeds (their range of
fewer than three).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from textwrap import fill
from typing import TYPE_CHECKING, Literal

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments.reporting.curves import spoken_bands
from experiments.reporting.probe_panels import (
    PANELS,
    Panel,
    name_the_unseen,
    scale_linearly,
    scale_logarithmically,
)
from experiments.reporting.probe_values import (
    Column,
    along_depth,
    along_steps,
    first_step,
    last_step,
    probe_band,
    probed_rows,
    runs_of,
    values_of,
)
from experiments.reporting.rows import Row
from experiments.reporting.style import GREY, headline, look_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


LEAST = 1e-12
LABEL_WIDTH = 18
"""Characters of a panel's label in one line."""


@dataclass(frozen=True)
class Theme:
    """Measures that stand in one figure, and what its title says of one of them."""

    title: str
    measures: tuple[str, ...]
    lead: str
    """The measure whose greatest and least value over conditions the title names."""
    lead_title: str
    lead_block: Literal["first", "last"] = "last"


THEMES = {
    "signal": Theme(
        "Signal",
        ("token_cosine", "rank_one_distance", "effective_rank", "stream_rms", "stream_mean", "kurtosis"),
        lead="effective_rank",
        lead_title="effective rank after the last block",
    ),
    "sublayers": Theme(
        "Sublayers",
        (
            *("jacobian_median", "jacobian_largest", "update_share_attention", "update_share_feed_forward"),
            *("attention_entropy_share", "inactive_share"),
        ),
        lead="jacobian_median",
        lead_title="median σ of the last block's Jacobian",
    ),
    "gradients": Theme(
        "Gradients",
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


def by_depth_figure(theme: Theme, rows: Sequence[Row]) -> Figure | None:
    """Draw the measures of a theme against depth, before training and at the last measurement; None without any."""
    probed = probed_rows(rows)
    if not probed:
        return None
    last = last_step(probed)
    columns = [
        Column(f"step {step}" + (" (before training)" if step == 0 else ""), partial(along_depth, step=step))
        for step in dict.fromkeys((first_step(probed), last))
    ]
    measures = [name for name in theme.measures if not name.startswith("update_ratio")]  # that follows the rate
    figure = _draw(measures, probed, columns, "blocks below (0: the embedding)")
    if figure is None:
        return None
    headline(figure, f"{finding(theme, probed, last)}\n{theme.title} by depth; {spoken_means(theme, probed, columns)}")
    return figure


def by_step_figure(theme: Theme, rows: Sequence[Row]) -> Figure | None:
    """Draw the measures of a theme against the optimiser step, for three blocks; None with fewer than three steps."""
    probed = probed_rows(rows)
    if not probed or max(len(run.history["probes"]["step"]) for row in probed for run in runs_of(row)) < 3:
        return None
    columns = [
        Column(f"{name} block", partial(along_steps, share=share))
        for name, share in (("first", 0.0), ("middle", 0.5), ("last", 1.0))
    ]
    figure = _draw(theme.measures, probed, columns, "optimiser steps")
    if figure is None:
        return None
    text = finding(theme, probed, last_step(probed))
    headline(figure, f"{text}\n{theme.title} while training; {spoken_means(theme, probed, columns)}")
    return figure


def spoken_means(theme: Theme, rows: Sequence[Row], columns: Sequence[Column]) -> str:
    """Return what lines and bands of a theme's figure are."""
    panels = [panel_of(measure) for measure in theme.measures]
    found = [probe_band(row, panel, column) for row in rows for panel in panels for column in columns]
    spoken = spoken_bands([band for band in found if band is not None])
    return f"{spoken} (on log scales geometric, of what is above 0)"


def finding(theme: Theme, rows: Sequence[Row], step: int) -> str:
    """Return the conditions with the greatest and the least value of the theme's leading measure, as a sentence."""
    column = Column("", partial(along_steps, share=0.0 if theme.lead_block == "first" else 1.0))
    ends = []
    for row in rows:
        band = probe_band(row, panel_of(theme.lead), column)
        if band is not None and band.x[-1] == step:
            ends.append((float(band.mean[-1]), row.title))
    if len(ends) < 2:
        return f"measured up to step {step}"
    (least, lower), (most, upper) = min(ends), max(ends)
    return f"At step {step}, {theme.lead_title}: {upper} {_spelled(most)}, {lower} {_spelled(least)}"


def _spelled(value: float) -> str:
    """Return two significant digits; what double precision cannot tell from nothing beside 1 is said to be below."""
    return f"{value:.2g}" if abs(value) >= LEAST else f"below {LEAST:g}"


def panel_of(measure: str) -> Panel:
    """Return how a measure is drawn."""
    return next(panel for panel in PANELS if panel.measure == measure)


def _draw(measures: Sequence[str], rows: Sequence[Row], columns: Sequence[Column], x_label: str) -> Figure | None:
    panels = [panel_of(measure) for measure in measures]
    drawn = [panel for panel in panels if any(probe_band(row, panel, column) for row in rows for column in columns)]
    if not drawn:
        return None
    figure = Figure(figsize=(7.4, 1.4 * len(drawn) + 1.2), layout="constrained")
    grid = figure.subplots(len(drawn), len(columns), sharex=True, sharey="row", squeeze=False)
    for line, panel in zip(grid, drawn, strict=True):
        for axes, column in zip(line, columns, strict=True):
            _draw_panel(axes, panel, column, rows)
        if panel.log:
            scale_logarithmically(line[0])
            for axes, column in zip(line, columns, strict=True):
                name_the_unseen(axes, {row.title: values_of(row, panel, column) for row in rows})
        else:
            scale_linearly(line[0])
        line[0].set_ylabel(fill(panel.title, LABEL_WIDTH), fontsize=8)
    for axes, column in zip(grid[0], columns, strict=True):
        axes.set_title(column.title, loc="left", fontsize=9)
    for axes in grid[-1]:
        axes.set_xlabel(x_label, fontsize=8.5)
    found = [axes.get_legend_handles_labels() for axes in grid.flat]
    handles = {label: handle for pair in found for handle, label in zip(*pair, strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=min(len(handles), 5))
    return figure


def _draw_panel(axes: Axes, panel: Panel, column: Column, rows: Sequence[Row]) -> None:
    if panel.reference is not None:
        axes.axhline(panel.reference, color=GREY, lw=0.8, ls=":", zorder=1)
    for row in rows:
        look, band = look_of(row.condition), probe_band(row, panel, column)
        if band is None:
            continue
        axes.fill_between(band.x, band.low, band.high, color=look.color, alpha=0.15, lw=0)
        axes.plot(
            band.x, band.mean, color=look.color, ls=look.line, marker=look.marker, ms=3.5, lw=1.3, label=row.title
        )
    if not axes.get_legend_handles_labels()[0]:
        axes.text(0.5, 0.5, "no values", transform=axes.transAxes, ha="center", va="center", color=GREY, fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.tick_params(which="both", labelsize=7.5)


DRAWN: dict[str, Callable[[Sequence[Row]], Figure | None]] = {
    f"probed_{name}_by_{kind}": partial(draw, theme)
    for name, theme in THEMES.items()
    for kind, draw in (("depth", by_depth_figure), ("step", by_step_figure))
}
"""Figures of probed runs, by the beginning of their file names."""
