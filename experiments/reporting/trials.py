"""Which values of a tuned setting training survives at which size: every tuning trial along a swept number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
from matplotlib.figure import Figure

from experiments.planning.widening import is_ladder, values_tried
from experiments.reporting.panels import make_panels
from experiments.reporting.rows import Description
from experiments.reporting.spoken import spoken_name, spoken_value
from experiments.reporting.style import GREY, headline, save_png, settings
from experiments.reporting.swept_curves import FEWEST_VALUES, swept_numbers
from experiments.reporting.tuning import is_chosen
from experiments.runs.naming import order_conditions, spell
from experiments.runs.record import Record
from experiments.runs.store import Evidence

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Place = tuple[float, float]
"""A swept value and a tuned one."""


@dataclass(frozen=True)
class Cell:
    """The trials of one condition at one place, which differ in other tuned settings or the seed."""

    best: float | None
    """The highest validation macro-F1 of those that trained; None where none did."""
    is_chosen: bool
    """Whether the final runs have the values of one of them."""


def tuned_ladders(evidence: Evidence) -> list[str]:
    """Return the dotted names of tuned numbers with at least three values, such as learning rates."""
    tuned = [trial.tuned for trial in evidence.trials]
    values = {name: values_tried(name, tuned) for name in sorted({name for trial in tuned for name in trial})}
    return [name for name, tried in values.items() if len(tried) >= FEWEST_VALUES and is_ladder(tried)]


def draw_trials(evidence: Evidence, description: Description, folder: Path) -> list[Path]:
    """Write a figure for every swept and every tuned number of a grid and return the paths."""
    written = []
    with matplotlib.rc_context(settings()):
        for swept in swept_numbers(trial.swept for trial in evidence.trials):
            for tuned in tuned_ladders(evidence):
                figure = trials_figure(swept, tuned, evidence, description)
                if figure is not None:
                    name = "_and_".join(name.rsplit(".", 1)[-1] for name in (swept, tuned))
                    written.append(save_png(figure, folder / f"trials_by_{name}.png"))
    return written


def trials_figure(swept: str, tuned: str, evidence: Evidence, description: Description) -> Figure | None:
    """Draw validation macro-F1 of every trial by the swept and the tuned number, a panel per condition.

    None where trials sweep something else beside ``swept``, which a flat picture cannot show.
    """
    trials = [trial for trial in evidence.trials if swept in trial.swept and tuned in trial.tuned]
    if not trials or any(len(trial.swept) > 1 for trial in trials):
        return None
    conditions = order_conditions({trial.condition for trial in trials}, description.conditions)
    cells = {name: cells_of([t for t in trials if t.condition == name], swept, tuned, evidence) for name in conditions}
    sizes = sorted({size for found in cells.values() for size, _ in found})
    top = max((cell.best for found in cells.values() for cell in found.values() if cell.best is not None), default=1.0)
    tried = sorted({value for found in cells.values() for _, value in found})
    figure, panels = make_panels(len(cells), width=3.1, height=0.5 + 0.3 * len(tried), share=True)
    for axes, (name, found) in zip(panels, cells.items(), strict=True):
        draw_cells(axes, found, sizes, tried, top)
        axes.set_title(description.title_of(name), loc="left")
    panels[0].set_yticks(range(len(tried)), [f"{value:g}" for value in tried])  # evenly: some lie too close to draw
    panels[0].set_ylim(-0.7, len(tried) - 0.3)
    panels[0].margins(x=0.09)
    panels[0].set_xticks(range(len(sizes)), [spell(int(size) if size.is_integer() else size) for size in sizes])
    figure.supxlabel(spoken_name(swept), fontsize=9)
    figure.supylabel(spoken_name(tuned), fontsize=9)
    titles = {description.title_of(name): found for name, found in cells.items()}
    headline(
        figure,
        f"{_finding(titles, sizes[-1], swept, tuned)}\nnumbers and shade: 100 × macro F1 on validation, best of "
        "the trials at that place; ×: all there collapsed or diverged; ring: chosen; "
        "square: none trained, this one taken",
    )
    return figure


def cells_of(trials: Sequence[Record], swept: str, tuned: str, evidence: Evidence) -> dict[Place, Cell]:
    """Sort the trials of one condition by their place."""
    places: dict[Place, list[Record]] = {}
    for trial in trials:
        places.setdefault((float(trial.swept[swept]), float(trial.tuned[tuned])), []).append(trial)
    cells = {}
    for place, found in places.items():
        scores = [
            score
            for t in found
            if t.outcome.status == "trained" and (score := t.score("validation", "macro_f1")) is not None
        ]
        cells[place] = Cell(max(scores, default=None), any(is_chosen(trial, evidence.finals) for trial in found))
    return cells


def draw_cells(
    axes: Axes, cells: Mapping[Place, Cell], sizes: Sequence[float], tried: Sequence[float], top: float
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
        axes.text(x, y, f"{100 * cell.best:.0f}", ha="center", va="center", fontsize=7, color=color)


def _finding(cells: Mapping[str, Mapping[Place, Cell]], size: float, swept: str, tuned: str) -> str:
    """Return the largest tuned value that trains at the greatest size, by condition."""
    largest = {}
    for title, found in cells.items():
        tried = [(value, cell) for (at, value), cell in found.items() if at == size]
        trains = [value for value, cell in tried if cell.best is not None]
        largest[title] = f"{max(trains):g}" if trains else "none" if tried else "not tried"
    said = ", ".join(f"{title} {value}" for title, value in largest.items())
    return f"Largest {spoken_name(tuned)} whose trial trained at {spoken_value(swept, size)}: {said}"
