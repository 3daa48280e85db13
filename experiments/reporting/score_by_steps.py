"""Score against steps: what a longer budget buys each network, from a grid that sweeps its budget."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

from experiments.reporting.curves import SweptCurve, SweptPanel, panels_along
from experiments.reporting.frame import Row
from experiments.reporting.panels import make_panels
from experiments.reporting.render import rounded
from experiments.reporting.style import Picture, look_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BUDGETS = ("trainer.max_epochs", "trainer.max_steps", "trainer.max_tokens")
"""Settings that are a budget. Each budget is a run of its own, with a schedule of its own."""
FEWEST_BUDGETS = 2
SPREAD = 0.02
"""Share of a factor of ten by which curves are drawn next to each other, so that equal scores stay visible."""


def budget_name(rows: Sequence[Row]) -> str | None:
    """Return the swept budget of some rows; None where fewer than two are swept."""
    for name in BUDGETS:
        if len({row.swept[name] for row in rows if row.swept.get(name) is not None}) >= FEWEST_BUDGETS:
            return name
    return None


def steps_of(row: Row) -> float:
    """Return the optimiser steps of a row's runs: the most, since diverged ones stop early."""
    return float(max(record.progress.get("steps") or 0 for record in row.records))


def score_by_steps(rows: Sequence[Row]) -> Picture | None:
    """Draw the test score of every seed against its steps, a panel per setting of all else that is swept.

    A line joins the medians of the runs that trained; a cross is a run that failed, which enters no median. None where
    no two budgets are recorded.
    """
    name = budget_name([row for row in rows if row.scored])
    if name is None:
        return None
    panels, metric = panels_along(name, [row for row in rows if row.scored]), rows[0].task.primary_metric
    figure, grid = make_panels(len(panels), width=3.4, height=3.2, share=True, columns=len(panels))
    ticks = sorted({steps_of(row) for panel in panels for curve in panel.curves for row in curve.rows})
    for axes, panel in zip(grid, panels, strict=True):
        for place, curve in enumerate(panel.curves):
            _draw(axes, curve, 10 ** (SPREAD * (place - (len(panel.curves) - 1) / 2)))
        for row in panel.lines:
            if row.score.mean is not None:
                look = look_of(row.condition)
                axes.axhline(row.score.mean, color=look.color, ls=look.line, lw=1.1, label=row.title)
        axes.set_xscale("log")
        axes.minorticks_off()
        axes.set_xticks(ticks, [f"{round(step):,}" for step in ticks])
        axes.set_xlim(ticks[0] / 1.6, ticks[-1] * 1.6)
        axes.set_title(panel.title, loc="left")
    grid[0].set_ylabel(f"{metric.title} on the test split")
    figure.supxlabel("optimiser steps", fontsize=9)
    labelled = {label: line for axes in grid for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(labelled.values(), labelled.keys(), loc="outside right center")
    caption = (
        f"Test {metric.title} against optimiser steps; each budget is a run of its own. Dots: seeds. Lines: medians of "
        "the runs that trained. Crosses: runs that collapsed or diverged. Lines without markers: baselines."
    )
    return Picture(figure, _title(panels), caption)


def _draw(axes: Axes, curve: SweptCurve, shift: float) -> None:
    """Draw one network: its seeds, the medians of those that trained, and crosses for those that did not."""
    look, medians = look_of(curve.condition), []
    for row in curve.rows:
        steps, by_seed = steps_of(row) * shift, row.scores_by_seed()
        for record in row.records:
            score, trained = by_seed.get(record.seed), record.outcome.status == "trained"
            if score is not None:
                axes.plot(
                    *([steps], [score]), ls="", color=look.color, alpha=0.55 if trained else 0.9,
                    marker=look.marker if trained else "x", mew=0 if trained else 1, ms=4.5 if trained else 6,
                )  # fmt: skip
        if row.trained.median is not None:
            medians.append((steps, row.trained.median))
    x, y = zip(*medians, strict=True) if medians else ((), ())
    axes.plot(
        *(x, y), color=look.color, ls=look.line, marker=look.marker, ms=6, mew=0.6, mec="white", lw=1.3,
        label=curve.label,
    )  # fmt: skip


def _title(panels: Sequence[SweptPanel]) -> str:
    """Return which network gains most from the largest budget, and where."""
    gains = []
    for panel in panels:
        for curve in panel.curves:
            found = [(steps_of(row), row.trained.median) for row in curve.rows if row.trained.median is not None]
            if len(found) > 1:
                (least, first), (most, last) = min(found), max(found)
                gains.append((last - first, curve.label, panel.title, f"{least:,.0f} to {most:,.0f}"))
    if not gains:
        return "No network trained at two budgets"
    gain, label, where, steps = max(gains)
    middle = median(each[0] for each in gains)
    place = f" ({where})" if where else ""
    return f"From {steps} steps {label}{place} gains most, {rounded(gain)}; the median gain is {rounded(middle)}"
