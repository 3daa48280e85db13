"""The figures of a report; where values are swept, one file per setting beside one overview of all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from experiments.reporting.curves import first_steps, gradient_band, spoken_bands
from experiments.reporting.gradient_ratio import ratio_figure
from experiments.reporting.headlines import scores_headline
from experiments.reporting.learning import learning_figure
from experiments.reporting.panels import confusion_figure, loss_figure
from experiments.reporting.probed import DRAWN as PROBED
from experiments.reporting.rows import Row
from experiments.reporting.spoken import spoken_setting
from experiments.reporting.style import GREY, headline, look_of, save_png, settings
from experiments.reporting.sweeps import DRAWN
from experiments.reporting.swept_curves import swept_numbers
from experiments.reporting.training_headlines import gradient_headline
from experiments.runs.naming import cell_name

SPREAD_SAID = "; ±: standard deviation over seeds"
MOST_ROWS = 24
"""Rows up to which one overview of all seeds is legible; beyond, curves along the swept number take its place."""
MOST_SETTINGS = 4
"""Settings up to which each has figures of its own; of more, the first and the last have."""
MOST_LABELLED = 16
"""Blocks up to which each has its number on the axis."""
ROOM_FOR_WORDS = 9
"""Places on the axis of blocks up to which the embedding's is spelled out."""


def draw_figures(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write every figure that the rows have data for and return the paths, overview first."""
    written = []
    with matplotlib.rc_context(settings()):
        scored = [row for row in rows if row.scored]
        if scored and len(rows) <= MOST_ROWS:
            written.append(save_png(macro_f1_figure(rows), folder / "macro_f1.png"))
        for number in swept_numbers(row.swept for row in rows):
            for name, draw_along in DRAWN.items():
                figure = draw_along(number, rows)
                if figure is not None:
                    written.append(save_png(figure, folder / f"{name}_{number.rsplit('.', 1)[-1]}.png"))
        if any(row.swept for row in rows) and (figure := ratio_figure(rows)) is not None:
            written.append(save_png(figure, folder / "gradient_ratio.png"))
        by_setting = list(_by_setting(rows))
        for swept, members in by_setting if len(by_setting) <= MOST_SETTINGS else [by_setting[0], by_setting[-1]]:
            suffix = f"_{cell_name(swept, {}, 'final')}" if swept else ""
            for name, draw in FIGURES.items():
                figure = draw(members)
                if figure is not None:
                    if swept:
                        headline(figure, f"{figure.get_suptitle()}\n{spoken_setting(swept)}")
                    written.append(save_png(figure, folder / f"{name}{suffix}.png"))
    return written


def macro_f1_figure(rows: Sequence[Row]) -> Figure:
    """Draw test macro-F1 by condition: every seed as a point, the mean with its 95 % t-interval beside them."""
    figure = Figure(figsize=(6.8, 1.3 + 0.36 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    for place, row in enumerate(rows):
        look, scores = look_of(row.condition), row.test("macro_f1")
        values = [value for _, one in row.scored if (value := one.metrics["macro_f1"]) is not None]
        axes.plot(values, [place + 0.16] * len(values), "o", color=look.color, alpha=0.45, ms=4, mew=0)
        if scores.low is not None and scores.high is not None:
            axes.plot([scores.low, scores.high], [place - 0.12] * 2, color=look.color, lw=2, solid_capstyle="butt")
        if scores.mean is not None:
            axes.plot(scores.mean, place - 0.12, "D", color=look.color, ms=5, mec="white", mew=0.6)
        lost = len(row.records) - len(values)
        if lost:
            axes.text(1.01, place, f"{lost} of {len(row.records)}\nno score", transform=axes.get_yaxis_transform(),
                      va="center", fontsize=7, color=GREY)  # fmt: skip
    axes.set_yticks(range(len(rows)), [row.label for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    left, right = axes.get_xlim()
    axes.set_xlim(max(left, 0.0), min(right, 1.0))  # an interval over few seeds can reach beyond what F1 can be
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("macro F1 on the test split")
    several = any(len(row.scored) > 1 for row in rows)
    explanation = "dots: seeds; diamonds and bars: mean and 95 % t-interval" if several else "diamonds: one seed each"
    headline(figure, f"{scores_headline(rows)}\n{explanation}{SPREAD_SAID * several}")
    return figure


def gradient_figure(rows: Sequence[Row]) -> Figure | None:
    """Draw the gradient norm of every block at the start of training, from the embedding to the head, log scale."""
    bands = [
        (row, gradient_band([record.history.get("gradient_norms") or {} for record in row.records])) for row in rows
    ]
    drawn = [(row, band) for row, band in bands if band is not None and len(band.x) > 2]
    if not drawn:
        return None
    figure = Figure(figsize=(6.8, 3.8), layout="constrained")
    axes = figure.add_subplot()
    longest = max(int(band.x[-1]) for _, band in drawn)
    for row, band in drawn:
        look = look_of(row.condition)
        place = np.where(band.x == band.x[-1], longest, band.x)
        axes.fill_between(place, band.low, band.high, color=look.color, alpha=0.15, lw=0)
        axes.plot(place, band.mean, color=look.color, ls=look.line, marker=look.marker, ms=5, lw=1.4, label=row.label)
    axes.set_yscale("log")
    axes.set_xticks(
        range(longest + 1),
        ["embedding" if longest <= ROOM_FOR_WORDS else "emb.", *block_labels(longest - 1), "head"],
    )
    axes.set_xlabel("block")
    axes.set_ylabel("gradient norm before clipping (L2)")
    steps = sorted(
        {step for row, _ in drawn for r in row.records for step in first_steps(r.history.get("gradient_norms") or {})}
    )
    first, last = steps[0], steps[-1]
    when = f"step {first}" if first == last else f"steps {first} to {last}"
    explanation = spoken_bands([band for _, band in drawn], geometric=True)
    headline(figure, f"{gradient_headline([row for row, _ in drawn])}\n{when} of training; {explanation}; log scale")
    figure.legend(loc="outside right center")
    return figure


def block_labels(blocks: int) -> list[str]:
    """Return the numbers of the blocks from 1; of many only every third but the last, so that none overlap."""
    if blocks <= MOST_LABELLED:
        return [str(block) for block in range(1, blocks + 1)]
    return [str(block) if block % 3 == 0 and block < blocks else "" for block in range(1, blocks + 1)]


FIGURES: dict[str, Callable[[Sequence[Row]], Figure | None]] = {
    "loss_curves": loss_figure,
    "learning_curves": learning_figure,
    "confusion": confusion_figure,
    "gradient_norms": gradient_figure,
    **PROBED,
}


def _by_setting(rows: Sequence[Row]) -> Iterator[tuple[dict[str, Any], list[Row]]]:
    """Yield each setting of the swept values with its rows, which are named without it; unswept rows join all."""
    settings_ = {cell_name(row.swept, {}, "final"): row.swept for row in rows if row.swept}
    if not settings_:
        yield {}, list(rows)
    for swept in settings_.values():
        yield swept, [replace(row, swept={}) for row in rows if not row.swept or row.swept == swept]
