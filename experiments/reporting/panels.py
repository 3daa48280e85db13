"""Figures with a panel per condition: losses, learning curves and confusion matrices."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from math import ceil, isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from experiments.reporting.curves import Band, seed_band, spoken_bands
from experiments.reporting.frame import Row
from experiments.reporting.probed import MOST_DECADES
from experiments.reporting.render import plural
from experiments.reporting.sentences import confusion_sentences, learning_sentences, loss_sentences, prior_entropy
from experiments.reporting.style import GREY, LIGHT_GREY, Picture, look_of, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL_COLUMNS = 3
LOG_FROM = 4
"""Factor between the greatest mean losses of two conditions; from it on, a linear axis would flatten one of them."""
BAND_ROOM = 1.5
"""Height of a linear axis of losses over the greatest mean, at most."""
COLOURED = ("train", "training rows")
"""Curves that every panel draws in its condition's colour."""
MOST_ANNOTATED = 10
"""Classes up to which a confusion matrix shows its numbers; beyond, a colour bar explains the shades."""


def loss_figure(rows: Sequence[Row]) -> Picture | None:
    """Draw training and validation loss, a panel per condition; on a log axis if one is far above another."""
    losses = {
        kind: [[r.history.get(kind) or {} for r in row.records] for row in rows] for kind in ("train", "validation")
    }
    linear = [seed_band(found, "step", "loss") for found in losses["train"]]
    peaks = [float(band.mean.max()) for band in linear if band is not None]
    if not peaks:
        return None
    is_log = max(peaks) > LOG_FROM * min(peaks)
    curves = []
    for place, row in enumerate(rows):
        train, validation = (seed_band(losses[kind][place], "step", "loss", geometric=is_log) for kind in losses)
        if train is not None:
            curves.append((row, train, validation))
    figure, panels = make_panels(len(curves), width=2.7, height=2.1, share=True, share_x=False)
    for axes, (row, train, validation) in zip(panels, curves, strict=True):
        for other, other_train, _ in curves:
            if other is not row:
                axes.plot(other_train.x, other_train.mean, color=LIGHT_GREY, lw=0.6, zorder=1)
        draw_band(axes, train, color=look_of(row.condition).color, lw=1.4, label="train")
        if validation is not None:
            draw_band(axes, validation, color="black", lw=1.0, ls=(0, (4, 1.5)), marker="o", ms=3, label="validation")
        if (entropy := prior_entropy(row)) is not None:
            axes.axhline(entropy, color=GREY, lw=0.9, ls=":", label="class prior's entropy")
        axes.set_xlim(0, 1.02 * float(train.x[-1]))  # its own: one long run would squeeze all others
        axes.set_title(outcomes_of(row), loc="left")
    bands = [band for _, train, validation in curves for band in (train, validation) if band]
    _limit_losses(panels[0], bands, is_log)
    label_curves(figure, panels, "loss (nats)")
    title, said = loss_sentences([row for row, _, _ in curves])
    scale = ["The axis has a log scale."] if is_log else []
    notes = ["Training and validation loss.", *said, spoken_bands(bands, geometric=is_log)]
    return Picture(figure, title, " ".join([*notes, "Grey: training loss of the other conditions.", *scale]))


def learning_figure(rows: Sequence[Row]) -> Picture | None:
    """Draw the primary metric on validation and on the fixed sample of training rows, a panel per condition.

    Only for grids that score training rows at every validation. The dotted line is the level to which steps to target
    are counted and at which overfitting is compared.
    """
    metric = rows[0].task.primary_metric
    curves = []
    for row in rows:
        histories = [record.history.get("validation") or {} for record in row.records]
        train, validation = (seed_band(histories, "step", name) for name in (f"train_{metric.name}", metric.name))
        if train is not None and validation is not None:
            curves.append((row, train, validation))
    if not curves:
        return None
    figure, panels = make_panels(len(curves), width=2.7, height=2.1, share=True)
    for axes, (row, train, validation) in zip(panels, curves, strict=True):
        draw_band(axes, train, color=look_of(row.condition).color, lw=1.4, label="training rows")
        draw_band(axes, validation, color="black", lw=1.0, ls=(0, (4, 1.5)), label="validation")
        if row.target is not None:
            axes.axhline(row.target, color=GREY, lw=0.9, ls=":", label="90 % of TF-IDF's validation score")
        axes.set_title(outcomes_of(row), loc="left")
        if all(isfinite(bound) for bound in metric.bounds):
            axes.set_ylim(*metric.bounds)
    label_curves(figure, panels, metric.title)
    bands = spoken_bands([band for _, train, validation in curves for band in (train, validation)])
    title, said = learning_sentences([row for row, _, _ in curves])
    about = f"{metric.title[0].upper()}{metric.title[1:]} on training and validation rows while training."
    return Picture(figure, title, " ".join([about, *said, bands]))


def label_curves(figure: Figure, panels: Sequence[Axes], y: str) -> None:
    """Label panels of curves over optimiser steps: the outer axes, and a legend below in no condition's colour."""
    label_outer(panels, "optimiser steps", y)
    labelled = {str(line.get_label()): line for axes in panels for line in axes.get_lines()}
    labelled = {label: line for label, line in labelled.items() if not label.startswith("_")}
    handles = []
    for label, line in labelled.items():
        handle = copy(line)
        if label in COLOURED:
            handle.set_color(GREY)
        handles.append(handle)
    figure.legend(handles, list(labelled), loc="outside lower center", ncols=len(labelled))


def label_outer(panels: Sequence[Axes], x: str, y: str, columns: int = PANEL_COLUMNS) -> None:
    """Name the axes of panels in lines of ``columns``: y at the left, x where no panel lies below."""
    for place, axes in enumerate(panels):
        below = panels[place + columns] if place + columns < len(panels) else None
        if below is None or not below.get_visible():
            axes.set_xlabel(x, fontsize=9)
        if place % columns == 0 or not panels[place - 1].get_visible():
            axes.set_ylabel(y, fontsize=9)


def confusion_figure(rows: Sequence[Row]) -> Picture | None:
    """Draw the mean confusion matrix over seeds, each row summing to 1, a panel per condition."""
    scored = [row for row in rows if row.scored]
    if not scored:
        return None
    spelled = [str(entry["class"]) for entry in scored[0].scored[0].details["per_class"]]
    names = printable(spelled)
    side = max(2.2, 0.28 * len(names) + 0.6)
    figure, panels = make_panels(len(scored), width=side, height=side, share=False)
    matrices = [mean_confusion(row) for row in scored]
    for place, (axes, row, matrix) in enumerate(zip(panels, scored, matrices, strict=True)):
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
    label_outer(panels, "predicted class", "true class")
    title, said = confusion_sentences(names, list(zip(scored, matrices, strict=True)))
    about = "Test confusion matrices, mean over seeds. Numbers and shade: percentage of each true class."
    if names == [str(number) for number in range(len(names))] != spelled:  # a page's own font has more characters
        key = ", ".join(f"{number} {name}" for number, name in enumerate(spelled))
        said = [*said, f"The classes: {key}."]
    return Picture(figure, title, " ".join([about, *said]))


def mean_confusion(row: Row) -> np.ndarray:
    """Return the mean over runs of the confusion matrix whose rows sum to 1, (K, K); 0 for a class without rows."""
    shares = []
    for scores in row.scored:
        counts = np.array(scores.details["confusion"], dtype=float)
        shares.append(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    return np.mean(shares, axis=0)


def make_panels(
    count: int,
    *,
    width: float,
    height: float,
    share: bool,
    share_x: bool | None = None,
    columns: int = PANEL_COLUMNS,
) -> tuple[Figure, list[Axes]]:
    """Return a figure with ``count`` panels of ``width`` × ``height`` inches, ``columns`` in a line, and the panels.

    They share their axes where ``share`` says so; ``share_x`` decides apart for the horizontal one.
    """
    columns = min(count, columns)
    lines = ceil(count / columns)
    size = (max(width * columns + 0.6, 5.0), height * lines + 0.8)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(
        lines, columns, sharex=share if share_x is None else share_x, sharey=share, squeeze=False
    ).flatten()
    for axes in grid[count:]:
        axes.set_visible(False)
    if share:
        for axes in grid[:count]:
            axes.tick_params(labelbottom=True)
    return figure, list(grid[:count])


def _annotate(axes: Axes, matrix: np.ndarray) -> None:
    for (true, predicted), share in np.ndenumerate(matrix):
        color = "white" if share > 0.6 else "black"
        axes.text(predicted, true, f"{100 * share:.0f}", ha="center", va="center", fontsize=6, color=color)


def draw_band(axes: Axes, band: Band, *, color: str, **line: Any) -> None:
    """Draw a mean as a line and what is known of it over seeds as a band."""
    axes.fill_between(band.x, band.low, band.high, color=color, alpha=0.15, lw=0)
    axes.plot(band.x, band.mean, color=color, **line)


def _limit_losses(axes: Axes, bands: Sequence[Band], is_log: bool) -> None:
    """Show every mean; of a band that reaches far beyond all means, such as an interval over three seeds, a part."""
    top, bottom = (float(pick([pick(band.mean) for band in bands])) for pick in (np.max, np.min))
    if is_log:
        axes.set_yscale("log")
        axes.set_ylim(max(bottom, top / 10**MOST_DECADES) / 1.5, 1.5 * top)
    else:
        axes.set_ylim(0, 1.05 * min(float(max(band.high.max() for band in bands)), BAND_ROOM * top))


def outcomes_of(row: Row) -> str:
    """Return the row's label with the outcomes other than trained."""
    counts = [(status, row.count(status)) for status in ("collapsed", "diverged", "failed", "no_parent")]
    said = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in counts if count)
    return f"{row.label}: {said}" if said else row.label
