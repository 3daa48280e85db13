"""Whether gradients vanish or explode on their way down, at every setting of a sweep: what claims 1 and 4 rest on."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

from matplotlib.figure import Figure

from experiments.records.gradient_ratio import DECADES, EXPLODING, VANISHING, log_gradient_ratios
from experiments.reporting.curves import Band, seed_band
from experiments.reporting.panels import draw_band, make_panels
from experiments.reporting.rows import Row
from experiments.reporting.spoken import spoken_setting
from experiments.reporting.style import GREY, headline, look_of


def ratio_figure(rows: Sequence[Row]) -> Figure | None:
    """Draw the first block's gradient norm over the last one's while training, a panel per setting of what is swept.

    Curves are geometric means over seeds, bands their range. None where no run has two blocks and kept gradient norms.
    """
    settings: dict[str, list[tuple[Row, Band]]] = {}
    for row in rows:
        band = _band(row)
        if band is not None:
            settings.setdefault(spoken_setting(row.swept), []).append((row, band))
    if not settings:
        return None
    figure, panels = make_panels(len(settings), width=2.9, height=2.1, share=True)
    for axes, (setting, curves) in zip(panels, settings.items(), strict=True):
        for row, band in curves:
            look = look_of(row.condition)
            draw_band(axes, band, color=look.color, ls=look.line, lw=1.4, label=row.title)
        for limit in (VANISHING, EXPLODING):
            axes.axhline(limit, color=GREY, lw=0.9, ls=":")
        axes.set_yscale("log")
        axes.set_title(setting.replace(", ", "\n"), loc="left", fontsize=8)
    figure.supxlabel("optimiser steps", fontsize=9)
    figure.supylabel("gradient norm,\nfirst / last block", fontsize=9)
    labelled = {label: line for axes in panels for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(labelled.values(), labelled.keys(), loc="outside right center")
    headline(figure, _finding([row for curves in settings.values() for row, _ in curves]))
    return figure


def _band(row: Row) -> Band | None:
    """Return the ratio by step over seeds, averaged as logarithms."""
    ratios = [log_gradient_ratios(record) for record in row.records]
    band = seed_band([{"step": list(found), "ratio": list(found.values())} for found in ratios], "step", "ratio")
    return None if band is None else Band(band.x, 10**band.mean, 10**band.low, 10**band.high)


def _finding(rows: Sequence[Row]) -> str:
    """Return where the ratio strays furthest from 1, by the median over training of each seed."""
    typical = [
        (fmean(median(found.values()) for record in row.records if (found := log_gradient_ratios(record))), row)
        for row in rows
    ]
    ratio, row = max(typical, key=lambda entry: abs(entry[0]))
    setting = spoken_setting(row.swept)
    where = f"{row.title} ({setting})" if setting else row.title
    return (
        f"First block's gradient over the last one's before clipping, median of steps: {_spelled(ratio)} for {where}, "
        "the furthest from 1\n"
        "lines: geometric mean over seeds; bands: their range; dotted: vanishing, exploding"
    )


def _spelled(exponent: float) -> str:
    """Return ``10**exponent``; as a bound where records are cut off there."""
    bound = {-DECADES: "at most ", DECADES: "at least "}.get(exponent, "")
    return f"{bound}{10**exponent:.2g}"
