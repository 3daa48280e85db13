"""Which values of a tuned setting training survives at which size: every tuning trial along a swept number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.reporting.curves import swept_numbers
from experiments.reporting.frame import Description
from experiments.reporting.panels import make_panels
from experiments.reporting.render import spoken_name
from experiments.reporting.score_by_steps import BUDGETS
from experiments.reporting.sentences import survival_title
from experiments.reporting.style import GREY, Picture
from experiments.reporting.tuned import is_chosen, tuned_ladders
from experiments.runs.naming import order_conditions, spell
from experiments.runs.record import Record
from experiments.runs.store import Evidence
from experiments.tasks import task_named

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RATE = "model.learning_rate"
"""Tuned setting whose picture comes first."""
Place = tuple[float, float]
"""A swept value and a tuned one."""


@dataclass(frozen=True)
class TrialCell:
    """The trials of one condition at one place, which differ in other tuned settings or the seed."""

    best: float | None
    """The best primary metric on validation of those that trained; None if none did."""
    is_chosen: bool
    """Whether the final runs have the values of one of them."""


def trial_figures(evidence: Evidence, description: Description) -> Iterator[tuple[str, Picture]]:
    """Yield a picture for every swept and every tuned number of a grid, with the stem of its file."""
    for swept in swept_numbers(trial.swept for trial in evidence.trials):
        for tuned in sorted(tuned_ladders(evidence), key=lambda name: (name != RATE, name)):
            picture = trials_figure(swept, tuned, evidence, description)
            if picture is not None:
                yield "trials_by_" + "_and_".join(name.rsplit(".", 1)[-1] for name in (swept, tuned)), picture


def trials_figure(swept: str, tuned: str, evidence: Evidence, description: Description) -> Picture | None:
    """Draw the primary metric on validation of every trial by the swept and the tuned number, a panel per condition.

    Of several budgets the smallest is drawn, at which everything is tried. None if trials sweep something else
    as well, which a flat picture cannot show.
    """
    trials = [trial for trial in evidence.trials if swept in trial.swept and tuned in trial.tuned]
    budgets = {name: min(trial.swept[name] for trial in trials) for name in BUDGETS if all_have(name, trials)}
    trials = [trial for trial in trials if all(trial.swept[name] == value for name, value in budgets.items())]
    if not trials or any(trial.swept.keys() - budgets.keys() != {swept} for trial in trials):
        return None
    metric = task_named(trials[0].task).primary_metric
    conditions = order_conditions({trial.condition for trial in trials}, description.conditions)
    cells = {name: cells_of([t for t in trials if t.condition == name], swept, tuned, evidence) for name in conditions}
    sizes = sorted({size for found in cells.values() for size, _ in found})
    top = max((cell.best for found in cells.values() for cell in found.values() if cell.best is not None), default=1.0)
    scale = 100 if metric.bounds == (0, 1) else 1  # shares as per cent
    tried = sorted({value for found in cells.values() for _, value in found})
    figure, panels = make_panels(len(cells), width=3.1, height=0.5 + 0.3 * len(tried), share=True)
    for axes, (name, found) in zip(panels, cells.items(), strict=True):
        draw_cells(axes, found, sizes, tried, top, scale)
        axes.set_title(description.title_of(name), loc="left")
    panels[0].set_yticks(range(len(tried)), [f"{value:g}" for value in tried])  # evenly: some lie too close to draw
    panels[0].set_ylim(-0.7, len(tried) - 0.3)
    panels[0].margins(x=0.09)
    panels[0].set_xticks(range(len(sizes)), [spell(int(size) if size.is_integer() else size) for size in sizes])
    figure.supxlabel(spoken_name(swept), fontsize=9)
    figure.supylabel(spoken_name(tuned), fontsize=9)
    largest: dict[str, float | None] = {}
    for name, found in cells.items():
        at_greatest = {value: cell for (size, value), cell in found.items() if size == sizes[-1]}
        if at_greatest:
            trained = [value for value, cell in at_greatest.items() if cell.best is not None]
            largest[description.title_of(name)] = max(trained, default=None)
    factor = f"{scale} × " if scale != 1 else ""
    caption = (
        f"Tuning trials by a swept and a tuned value. Numbers and shade: {factor}{metric.title} on validation, "
        "the best trial at that place. ×: all there collapsed or diverged. Ring: chosen. "
        "Square: none trained, this one taken."
    ) + (" The smallest of several budgets." if budgets else "")
    return Picture(figure, survival_title(largest, swept, sizes[-1], tuned), caption)


def all_have(name: str, trials: Sequence[Record]) -> bool:
    """Tell whether all trials sweep a setting."""
    return bool(trials) and all(trial.swept.get(name) is not None for trial in trials)


def cells_of(trials: Sequence[Record], swept: str, tuned: str, evidence: Evidence) -> dict[Place, TrialCell]:
    """Sort the trials of one condition by their place."""
    places: dict[Place, list[Record]] = {}
    for trial in trials:
        places.setdefault((float(trial.swept[swept]), float(trial.tuned[tuned])), []).append(trial)
    cells = {}
    for place, found in places.items():
        metric = task_named(found[0].task).primary_metric
        trained = [trial.score("validation", metric.name) for trial in found if trial.outcome.status == "trained"]
        best = (max if metric.higher_is_better else min)((s for s in trained if s is not None), default=None)
        cells[place] = TrialCell(best, any(is_chosen(trial, evidence.finals) for trial in found))
    return cells


def draw_cells(
    axes: Axes,
    cells: Mapping[Place, TrialCell],
    sizes: Sequence[float],
    tried: Sequence[float],
    top: float,
    scale: float,
) -> None:
    """Draw one condition: a disc with its score for what trained, a cross for what did not."""
    for (size, value), cell in cells.items():
        x, y = sizes.index(size), tried.index(value)
        if cell.is_chosen and cell.best is not None:
            axes.plot(x, y, "o", mfc="none", mec="black", ms=17, mew=1.2)
        if cell.best is None:
            axes.plot(x, y, "x", color=GREY, ms=7)
            if cell.is_chosen:  # for want of a trial that trained
                axes.plot(x, y, "s", mfc="none", mec=GREY, ms=14, mew=0.9)
            continue
        axes.scatter(x, y, c=[cell.best], cmap="Blues", vmin=0, vmax=top, s=170, edgecolors="none", zorder=2)
        color = "white" if cell.best > 0.6 * top else "black"
        axes.text(x, y, f"{scale * cell.best:.0f}", ha="center", va="center", fontsize=7, color=color)
