"""Figures with a panel per condition: losses and confusion matrices."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from experiments.reporting.curves import Band, seed_band
from experiments.reporting.render import plural
from experiments.reporting.rows import Row
from experiments.reporting.style import GREY, LIGHT_GREY, headline, look_of, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL_COLUMNS = 3
MOST_ANNOTATED = 10
"""Classes up to which a confusion matrix shows its numbers; beyond, a colour bar explains the shades."""


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
    figure, panels = make_panels(len(curves), width=2.7, height=2.1, share=True, share_x=False)
    for axes, (row, train, validation) in zip(panels, curves, strict=True):
        look = look_of(row.condition)
        for other, other_train, _ in curves:
            if other is not row:
                axes.plot(other_train.x, other_train.mean, color=LIGHT_GREY, lw=0.6, zorder=1)
        draw_band(axes, train, color=look.color, lw=1.4, label="train")
        if validation is not None:
            draw_band(axes, validation, color="black", lw=1.0, ls=(0, (4, 1.5)), marker="o", ms=3, label="validation")
        _draw_prior(axes, row)
        axes.set_xlim(0, 1.02 * float(train.x[-1]))  # its own: one long run would squeeze all others
        axes.set_title(outcomes_of(row), loc="left")
    _limit_losses(panels[0], [band for _, train, validation in curves for band in (train, validation) if band])
    label_curves(figure, panels, "loss", "Loss: mean and range over seeds; grey: other variants (train)")
    return figure


def label_curves(figure: Figure, panels: Sequence[Axes], y: str, title: str) -> None:
    """Label panels of curves over optimiser steps: both axes, a legend below, the title."""
    figure.supxlabel("optimiser steps", x=0.08, ha="left", fontsize=9)
    figure.supylabel(y, fontsize=9)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower right", ncols=len(labels))
    headline(figure, title)


def confusion_figure(rows: Sequence[Row]) -> Figure | None:
    """Draw the mean confusion matrix over seeds, each row summing to 1, a panel per condition."""
    scored = [row for row in rows if row.scored]
    if not scored:
        return None
    names = printable([str(entry["class"]) for entry in scored[0].scored[0][1].per_class])
    side = max(2.2, 0.28 * len(names) + 0.6)
    figure, panels = make_panels(len(scored), width=side, height=side, share=False)
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
    headline(figure, "Test confusion: percentage of each true class, mean over seeds")
    return figure


def mean_confusion(row: Row) -> np.ndarray:
    """Return the mean over runs of the confusion matrix whose rows sum to 1, (K, K); 0 for a class without rows."""
    shares = []
    for _, scores in row.scored:
        counts = np.array(scores.confusion, dtype=float)
        shares.append(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    return np.mean(shares, axis=0)


def make_panels(
    count: int, *, width: float, height: float, share: bool, share_x: bool | None = None
) -> tuple[Figure, list[Axes]]:
    """Return a figure with ``count`` panels of ``width`` × ``height`` inches, three in a line, and the panels.

    They share their axes where ``share`` says so; ``share_x`` decides apart for the horizontal one.
    """
    columns = min(count, PANEL_COLUMNS)
    lines = ceil(count / columns)
    size = (max(width * columns + 0.6, 5.0), height * lines + 0.8)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(
        lines, columns, sharex=share if share_x is None else share_x, sharey=share, squeeze=False
    ).flatten()
    for axes in grid[count:]:
        axes.set_visible(False)
    if share:
        for axes in grid[max(count - columns, 0) : count]:
            axes.tick_params(labelbottom=True)
    return figure, list(grid[:count])


def _annotate(axes: Axes, matrix: np.ndarray) -> None:
    for (true, predicted), share in np.ndenumerate(matrix):
        color = "white" if share > 0.6 else "black"
        axes.text(predicted, true, f"{100 * share:.0f}", ha="center", va="center", fontsize=6, color=color)


def draw_band(axes: Axes, band: Band, *, color: str, **line: Any) -> None:
    """Draw a mean as a line and its range over seeds as a band."""
    axes.fill_between(band.x, band.low, band.high, color=color, alpha=0.15, lw=0)
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


def outcomes_of(row: Row) -> str:
    """Return the row's label with the outcomes other than trained."""
    counts = [(status, row.count(status)) for status in ("collapsed", "diverged", "failed")]
    said = ", ".join(f"{count} {status}" for status, count in counts if count)
    return f"{row.label}: {said}" if said else row.label
