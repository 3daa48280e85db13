"""The figures of a report; where values are swept, one file per setting and an overview of all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from experiments.reporting.curves import first_steps, gradient_band, spoken_bands, swept_numbers
from experiments.reporting.frame import Description, Row, covered
from experiments.reporting.panels import confusion_figure, learning_figure, loss_figure
from experiments.reporting.probed import PROBED_FIGURES
from experiments.reporting.render import spoken_name, spoken_setting
from experiments.reporting.score_by_steps import BUDGETS, score_by_steps
from experiments.reporting.sentences import gradient_sentences, leader
from experiments.reporting.style import GREY, Picture, look_of, settings
from experiments.reporting.sweeps import failure_figure, ratio_figure, score_figure
from experiments.reporting.trials import trial_figures
from experiments.runs.naming import cell_name
from experiments.runs.store import Evidence

MOST_ROWS = 24
"""Rows up to which one overview of all seeds is legible; beyond, curves along the swept number take its place."""
MOST_SETTINGS = 4
"""Most settings that each have figures; if there are more, only the first and the last have."""
MOST_LABELLED = 16
"""Blocks up to which each has its number on the axis."""
ROOM_FOR_WORDS = 9
"""Most places on the axis of blocks for which the embedding's label is spelled out."""


def draw_pictures(rows: Sequence[Row], evidence: Evidence, description: Description) -> Iterator[tuple[str, Picture]]:
    """Yield every picture that the runs have data for with the stem of its file, those of most use first.

    They are: which rates train at which size, score against steps, the overview.
    """
    primary = rows[0].task.primary
    with matplotlib.rc_context(settings()):
        yield from trial_figures(evidence, description)
        if (picture := score_by_steps(rows)) is not None:
            yield f"{primary}_by_steps", picture
        if any(row.scored for row in rows) and len(rows) <= MOST_ROWS:
            yield primary, overview_figure(rows)
        for name in [name for name in swept_numbers(row.swept for row in rows) if name not in BUDGETS]:
            for stem, draw_along in ((f"{primary}_by", score_figure), ("failures_by", failure_figure)):
                if (picture := draw_along(name, rows)) is not None:
                    caption = f"{picture.caption} Swept: {spoken_name(name)}."
                    yield f"{stem}_{name.rsplit('.', 1)[-1]}", replace(picture, caption=caption)
        if any(row.swept for row in rows) and (picture := ratio_figure(rows)) is not None:
            yield "gradient_ratio", picture
        by_setting = list(_by_setting(rows))
        for swept, members in by_setting if len(by_setting) <= MOST_SETTINGS else [by_setting[0], by_setting[-1]]:
            suffix = f"_{cell_name(swept, {}, 'final')}" if swept else ""
            for stem, draw in FIGURES.items():
                if (stem not in TASK_FIGURES or stem in rows[0].task.parts) and (picture := draw(members)) is not None:
                    where = f" ({spoken_setting(swept)})" if swept else ""
                    yield f"{stem}{suffix}", replace(picture, title=f"{picture.title}{where}")


def overview_figure(rows: Sequence[Row]) -> Picture:
    """Draw the primary test metric by condition: every seed as a point, the mean with its 95 % interval below."""
    metric = rows[0].task.primary_metric
    figure = Figure(figsize=(6.8, 1.1 + 0.36 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    for place, row in enumerate(rows):
        look, scores, values = look_of(row.condition), row.score, list(row.scores_by_seed().values())
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
    (left, right), (least, most) = axes.get_xlim(), metric.bounds
    axes.set_xlim(max(left, least), min(right, most))  # an interval over few seeds can reach beyond what scores can be
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"{metric.title} on the test split")
    several = any(row.score.count > 1 for row in rows)
    bars = f"Diamonds and bars: mean and 95 % interval over {covered(rows)}."
    marks = f"Dots: seeds. {bars}" if several else "Diamonds: one seed each."
    about = f"Test {metric.title} of every seed, with the mean and its interval."
    lead = leader(rows)[0]
    title, *rest = lead.removesuffix(".").split(" ± ")  # the title has one line; its spread is in the caption
    return Picture(figure, title, f"{about} {lead} {marks}" if rest else f"{about} {marks}")


def gradient_figure(rows: Sequence[Row]) -> Picture | None:
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
    figure.legend(loc="outside right center")
    title, said = gradient_sentences([row for row, _ in drawn])
    about = f"Gradient norm by block in {when} of training, before clipping, on a log scale."
    return Picture(figure, title, " ".join([about, *said, spoken_bands([band for _, band in drawn], geometric=True)]))


def block_labels(blocks: int) -> list[str]:
    """Return the numbers of the blocks from 1; of many, every third one except the last, so that none overlap."""
    if blocks <= MOST_LABELLED:
        return [str(block) for block in range(1, blocks + 1)]
    return [str(block) if block % 3 == 0 and block < blocks else "" for block in range(1, blocks + 1)]


FIGURES: dict[str, Callable[[Sequence[Row]], Picture | None]] = {
    "loss_curves": loss_figure,
    "learning_curves": learning_figure,
    "confusion": confusion_figure,
    "gradient_norms": gradient_figure,
    **PROBED_FIGURES,
}
"""Figures of one setting by the stem of their files; each returns None for runs that lack its data."""


TASK_FIGURES = ("confusion",)
"""Figures that only those tasks have which name them."""


def _by_setting(rows: Sequence[Row]) -> Iterator[tuple[dict[str, Any], list[Row]]]:
    """Yield each setting of the swept values with its rows, which are named without it; unswept rows join all."""
    settings_ = {cell_name(row.swept, {}, "final"): row.swept for row in rows if row.swept}
    if not settings_:
        yield {}, list(rows)
    for swept in settings_.values():
        yield swept, [replace(row, swept={}) for row in rows if not row.swept or row.swept == swept]
