"""How train and validation scores rise: what speed and overfitting are read from."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from experiments.reporting.curves import seed_band, spoken_bands
from experiments.reporting.panels import draw_band, label_curves, make_panels, outcomes_of
from experiments.reporting.rows import Row
from experiments.reporting.style import GREY, headline, look_of
from experiments.reporting.training_headlines import learning_headline


def learning_figure(rows: Sequence[Row]) -> Figure | None:
    """Draw macro-F1 on validation and on the fixed sample of training rows, a panel per condition.

    Only for grids that score training rows at every validation. The dotted line is the level that steps to target are
    counted to and that overfitting is compared at.
    """
    curves = []
    for row in rows:
        histories = [record.history.get("validation") or {} for record in row.records]
        train, validation = (seed_band(histories, "step", name) for name in ("train_macro_f1", "macro_f1"))
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
        axes.set_ylim(0, 1)
    label_curves(figure, panels, "macro F1")
    bands = spoken_bands([band for _, train, validation in curves for band in (train, validation)])
    headline(figure, f"{learning_headline([row for row, _, _ in curves])}\n{bands}")
    return figure
