"""The figures of a report; where values are swept, one file per setting beside one overview of all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from experiments.records.naming import cell_name
from experiments.reporting.curves import Band, gradient_band, seed_band
from experiments.reporting.render import plural
from experiments.reporting.rows import Row
from experiments.reporting.style import GREY, LIGHT_GREY, look_of, printable, save_png, settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL_COLUMNS = 3
MOST_ANNOTATED = 10
"""Classes up to which a confusion matrix shows its numbers; beyond, a colour bar explains the shades."""


def draw_figures(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write every figure that the rows have data for and return the paths, overview first."""
    written = []
    with matplotlib.rc_context(settings()):
        scored = [row for row in rows if row.scored]
        if scored:
            written.append(save_png(macro_f1_figure(rows), folder / "macro_f1.png"))
        for suffix, members in _by_setting(rows):
            for name, draw in FIGURES.items():
                figure = draw(members)
                if figure is not None:
                    written.append(save_png(figure, folder / f"{name}{suffix}.png"))
    return written


def macro_f1_figure(rows: Sequence[Row]) -> Figure:
    """Draw test macro-F1 by condition: every seed as a point, the mean with its 95 % t-interval beside them."""
    figure = Figure(figsize=(6.8, 1.3 + 0.36 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    for place, row in enumerate(rows):
        look, scores = look_of(row.condition), row.test("macro_f1")
        values = [scores_.macro_f1 for _, scores_ in row.scored]
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
    axes.set_title("Test macro F1: seeds (dots), their mean and 95 % t-interval", loc="left")
    return figure


def loss_figure(rows: Sequence[Row]) -> Figure | None:
    """Draw training and validation loss, a panel per condition, with the range over seeds as a band."""
    curves = []
    for row in rows:
        train = seed_band([record.history.get("train") or {} for record in row.records], "step", "loss")
        validation = seed_band([record.history.get("validation") or {} for record in row.records], "step", "loss")
        if train is not None:
            curves.append((row, train, validation))
    if not curves:
        return None
    figure, panels = _panels(len(curves), width=2.7, height=2.1, share=True)
    for axes, (row, train, validation) in zip(panels, curves, strict=True):
        look = look_of(row.condition)
        for other, other_train, _ in curves:
            if other is not row:
                axes.plot(other_train.x, other_train.mean, color=LIGHT_GREY, lw=0.6, zorder=1)
        _draw_band(axes, train, color=look.color, lw=1.4, label="train")
        if validation is not None:
            _draw_band(axes, validation, color="black", lw=1.0, ls=(0, (4, 1.5)), marker="o", ms=3, label="validation")
        _draw_prior(axes, row)
        axes.set_title(_outcomes(row), loc="left")
    _limit_losses(panels[0], [band for _, train, validation in curves for band in (train, validation) if band])
    figure.supxlabel("optimiser steps", fontsize=9)
    figure.supylabel("loss", fontsize=9)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels))
    _headline(figure, "Loss: mean and range over seeds; grey: other variants (train)")
    return figure


def confusion_figure(rows: Sequence[Row]) -> Figure | None:
    """Draw the mean confusion matrix over seeds, each row summing to 1, a panel per condition."""
    scored = [row for row in rows if row.scored]
    if not scored:
        return None
    names = printable([str(entry["class"]) for entry in scored[0].scored[0][1].per_class])
    side = max(2.2, 0.32 * len(names) + 0.9)
    figure, panels = _panels(len(scored), width=side, height=side, share=False)
    for place, (axes, row) in enumerate(zip(panels, scored, strict=True)):
        matrix = mean_confusion(row)
        image = axes.imshow(matrix, cmap="Blues", vmin=0, vmax=1)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.set_title(f"{row.label}\n{plural(len(row.scored), 'run')}", loc="left", fontsize=8)
        lowest = place + PANEL_COLUMNS >= len(scored)
        axes.set_xticks(range(len(names)), names if lowest else [], rotation=90, fontsize=7)
        axes.set_yticks(range(len(names)), names if place % PANEL_COLUMNS == 0 else [], fontsize=7)
        if len(names) <= MOST_ANNOTATED:
            _annotate(axes, matrix)
        elif place == len(scored) - 1:
            figure.colorbar(image, ax=axes, label="share of the true class")
    figure.supxlabel("predicted class", fontsize=9)
    figure.supylabel("true class", fontsize=9)
    _headline(figure, "Test confusion: percentage of each true class, mean over seeds")
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
    axes.set_xticks(range(longest + 1), ["embedding", *(str(block) for block in range(longest - 1)), "head"])
    axes.set_xlabel("block")
    axes.set_ylabel("gradient norm before clipping (L2)")
    steps = sorted({step for row, _ in drawn for r in row.records for step in r.history["gradient_norms"]["step"]})
    first, last = steps[0], steps[-1]
    when = f"step {first}" if first == last else f"steps {first} to {last}"
    _headline(figure, f"Gradient norm by block, {when} of training: mean and range over seeds (log scale)")
    figure.legend(loc="outside right center")
    return figure


FIGURES: dict[str, Callable[[Sequence[Row]], Figure | None]] = {
    "loss_curves": loss_figure,
    "confusion": confusion_figure,
    "gradient_norms": gradient_figure,
}


def mean_confusion(row: Row) -> np.ndarray:
    """Return the mean over runs of the confusion matrix whose rows sum to 1, (K, K); 0 for a class without rows."""
    shares = []
    for _, scores in row.scored:
        counts = np.array(scores.confusion, dtype=float)
        shares.append(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    return np.mean(shares, axis=0)


def _annotate(axes: Axes, matrix: np.ndarray) -> None:
    for (true, predicted), share in np.ndenumerate(matrix):
        color = "white" if share > 0.6 else "black"
        axes.text(predicted, true, f"{100 * share:.0f}", ha="center", va="center", fontsize=6, color=color)


def _by_setting(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """Yield a file-name suffix and the rows for each setting of the swept values; unswept rows join all of them."""
    settings_ = {cell_name(row.swept, {}, "final"): row.swept for row in rows if row.swept}
    if not settings_:
        yield "", list(rows)
    for cell, swept in settings_.items():
        yield f"_{cell}", [row for row in rows if not row.swept or row.swept == swept]


def _panels(count: int, *, width: float, height: float, share: bool) -> tuple[Figure, list[Axes]]:
    columns = min(count, PANEL_COLUMNS)
    lines = ceil(count / columns)
    size = (max(width * columns + 0.6, 5.0), height * lines + 0.8)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(lines, columns, sharex=share, sharey=share, squeeze=False).flatten()
    for axes in grid[count:]:
        axes.set_visible(False)
    if share:
        for axes in grid[max(count - columns, 0) : count]:
            axes.tick_params(labelbottom=True)
    return figure, list(grid[:count])


def _headline(figure: Figure, text: str) -> None:
    figure.suptitle(text, x=0.01, ha="left", fontsize=10)


def _draw_band(axes: Axes, band: Band, *, color: str, **line: Any) -> None:
    axes.fill_between(band.x, band.low, band.high, color=color, alpha=0.2, lw=0)
    axes.plot(band.x, band.mean, color=color, **line)


def _draw_prior(axes: Axes, row: Row) -> None:
    """Mark the entropy of the class prior: the cross-entropy of a model that ignores the text."""
    scores = next((record.validation for record in row.records if record.validation), None)
    model = row.records[0].config.get("model") or {}
    plain = model.get("loss", "cross_entropy") == "cross_entropy" and not model.get("label_smoothing")
    if scores is None or not plain:
        return
    counts = np.array([int(entry["support"]) for entry in scores.per_class], dtype=float)
    shares = counts[counts > 0] / counts.sum()
    axes.axhline(float(-(shares * np.log(shares)).sum()), color=GREY, lw=0.9, ls=":", label="class prior")


def _limit_losses(axes: Axes, bands: Sequence[Band]) -> None:
    """Keep a diverging run from flattening all other curves: cut above twice the 90th percentile of the means."""
    means = np.concatenate([band.mean for band in bands])
    ceiling = min(float(max(band.high.max() for band in bands)), 2 * float(np.percentile(means, 90)))
    axes.set_ylim(0, 1.05 * ceiling)


def _outcomes(row: Row) -> str:
    """Return the row's label with the outcomes other than trained."""
    counts = [(status, row.count(status)) for status in ("collapsed", "diverged", "failed")]
    said = ", ".join(f"{count} {status}" for status, count in counts if count)
    return f"{row.label}: {said}" if said else row.label
