"""Figures along a swept number, such as depth: the score with its interval, and how often training failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from experiments.records.naming import spell
from experiments.reporting.panels import make_panels
from experiments.reporting.render import rounded
from experiments.reporting.rows import Row
from experiments.reporting.spoken import spoken_name, spoken_setting, spoken_value
from experiments.reporting.style import headline, look_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEWEST_VALUES = 3
"""Values of a swept number from which a curve says more than a table."""


@dataclass(frozen=True)
class Curve:
    """The rows of one condition along one swept number, everything else held fixed."""

    label: str
    condition: str
    values: list[float]
    rows: list[Row]


@dataclass(frozen=True)
class Panel:
    """The curves at one setting of everything else that is swept, and the rows that do not depend on the number."""

    title: str
    curves: list[Curve]
    lines: list[Row]


def swept_numbers(swept: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the dotted names of swept settings that have at least three values, all of them numbers."""
    values: dict[str, list[Any]] = {}
    for setting in swept:
        for name, value in setting.items():
            values.setdefault(name, []).append(value)
    numbers = {name: set(found) for name, found in values.items() if all(map(_is_number, found))}
    return sorted(name for name, found in numbers.items() if len(found) >= FEWEST_VALUES)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def panels_along(name: str, rows: Sequence[Row]) -> list[Panel]:
    """Sort the rows into panels and curves along the swept number ``name``."""
    found: dict[str, dict[str, list[Row]]] = {}
    settings: dict[str, dict[str, Any]] = {}
    for row in rows:
        if name not in row.swept:
            continue
        others = {other: value for other, value in row.swept.items() if other != name}
        title = spoken_setting(others)
        settings.setdefault(title, others)
        found.setdefault(title, {}).setdefault(row.condition, []).append(row)
    panels = []
    for title, conditions in found.items():
        lines = [row for row in rows if name not in row.swept and row.applies_to(settings[title])]
        curves = []
        for condition, members in conditions.items():
            ordered = sorted(members, key=lambda row: row.swept[name])
            values = [float(row.swept[name]) for row in ordered]
            curves.append(Curve(ordered[0].title, condition, values, ordered))
        panels.append(Panel(title, curves, lines))
    return panels


def score_figure(name: str, rows: Sequence[Row]) -> Figure | None:
    """Draw mean test macro-F1 along a swept number, the 95 % t-interval over seeds as a band; baselines as lines."""
    panels = panels_along(name, rows)
    curves = [(panel, curve) for panel in panels for curve in panel.curves if any(row.scored for row in curve.rows)]
    if not curves:
        return None
    figure, grid = make_panels(len(panels), width=5.6, height=3.6, share=True)
    for axes, panel in zip(grid, panels, strict=True):
        for curve in panel.curves:
            _draw_scores(axes, curve)
        for row in panel.lines:
            _draw_line(axes, row, with_score=len(panels) == 1)
        _finish(axes, panel, "macro F1 on the test split")
    bands = any(row.test("macro_f1").low is not None for _, curve in curves for row in curve.rows)
    lines = "lines: mean over seeds; bands: its 95 % t-interval" if bands else "lines: one seed"
    explanation = f"{lines}; without markers: baselines"
    _label(figure, grid, spoken_name(name), f"Test macro F1: {_finding(name, panels)}\n{explanation}")
    return figure


def failure_figure(name: str, rows: Sequence[Row]) -> Figure | None:
    """Draw the share of runs that collapsed or diverged along a swept number; None where none did."""
    panels = panels_along(name, rows)
    if not any(_failures(row) for panel in panels for curve in panel.curves for row in curve.rows):
        return None
    figure, grid = make_panels(len(panels), width=5.6, height=3.0, share=True)
    for axes, panel in zip(grid, panels, strict=True):
        for place, curve in enumerate(panel.curves):
            look = look_of(curve.condition)
            shares = [_failures(row) / len(row.records) for row in curve.rows]
            lifted = np.array(shares) + 0.008 * (place - (len(panel.curves) - 1) / 2)  # equal shares stay visible
            axes.plot(curve.values, lifted, color=look.color, ls=look.line, marker=look.marker, ms=5, label=curve.label)
        axes.set_ylim(-0.06, 1.06)
        _finish(axes, panel, "share that collapsed or diverged")
    _label(figure, grid, spoken_name(name), f"{_ending(rows)}\nequal shares are drawn slightly apart")
    return figure


def _draw_scores(axes: Axes, curve: Curve) -> None:
    look = look_of(curve.condition)
    spreads = [row.test("macro_f1") for row in curve.rows]
    points = [
        (value, s.mean, s.mean if s.low is None else s.low, s.mean if s.high is None else s.high)
        for value, s in zip(curve.values, spreads, strict=True)
        if s.mean is not None
    ]
    if not points:
        return
    x, means, low, high = (np.array(column) for column in zip(*points, strict=True))
    axes.fill_between(x, low.clip(0, 1), high.clip(0, 1), color=look.color, alpha=0.13, lw=0)
    axes.plot(x, means, color=look.color, ls=look.line, marker=look.marker, ms=5, lw=1.5, label=curve.label)


def _draw_line(axes: Axes, row: Row, with_score: bool) -> None:
    mean = row.test("macro_f1").mean
    if mean is not None:
        look = look_of(row.condition)
        label = f"{row.title}: {rounded(mean, 2)}" if with_score else row.title  # one legend for all panels
        axes.axhline(mean, color=look.color, ls=look.line, lw=1.2, label=label)


def _finish(axes: Axes, panel: Panel, what: str) -> None:
    values = sorted({value for curve in panel.curves for value in curve.values})
    if values[0] > 0 and values[-1] / values[0] >= 8:
        axes.set_xscale("log")
        axes.minorticks_off()
    axes.set_xticks(values, [spell(int(value) if value.is_integer() else value) for value in values])
    axes.set_title(panel.title, loc="left")
    axes.set_ylabel(what)


def _label(figure: Figure, panels: Sequence[Axes], x: str, text: str) -> None:
    figure.supxlabel(x, fontsize=9)
    labelled = {label: line for axes in panels for line, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(labelled.values(), labelled.keys(), loc="outside right center")
    headline(figure, text)


def _finding(name: str, panels: Sequence[Panel]) -> str:
    """Return the best and the worst condition at the greatest value, in the panel where they differ most."""
    greatest = max(value for panel in panels for curve in panel.curves for value in curve.values)
    where = f"at {spoken_value(name, greatest)}"
    found: list[tuple[list[tuple[float, str]], str]] = []
    for panel in panels:
        ends = [
            (mean, curve.label)
            for curve in panel.curves
            if curve.values[-1] == greatest and (mean := curve.rows[-1].test("macro_f1").mean) is not None
        ]
        if ends:
            found.append((ends, f"{where}, {panel.title}," if panel.title else where))
    if not found:
        return f"no run {where} has a score"
    ends, place = max(found, key=lambda entry: max(entry[0])[0] - min(entry[0])[0])
    (worst, loser), (best, winner) = min(ends), max(ends)
    if len(ends) == 1:
        return f"{winner} reaches {rounded(best, 2)} {place}".rstrip(",")
    return f"{place} {winner} reaches {rounded(best, 2)}, {loser} {rounded(worst, 2)}"


def _ending(rows: Sequence[Row]) -> str:
    """Return how many runs of the sweep collapsed and diverged, and which conditions lost most of their own."""
    swept = [row for row in rows if row.swept]
    counts = [f"{sum(row.count(status) for row in swept)} {status}" for status in ("collapsed", "diverged")]
    lost: Counter[str] = Counter()
    made: Counter[str] = Counter()
    for row in swept:
        lost[row.title] += _failures(row)
        made[row.title] += len(row.records)
    most = max(lost[title] / made[title] for title in lost)
    worst = [f"{title}, {lost[title]} of {made[title]}" for title in lost if lost[title] / made[title] == most]
    return f"Of {made.total()} runs {' and '.join(counts)}; most of all {'; '.join(worst)}"


def _failures(row: Row) -> int:
    return row.count("collapsed") + row.count("diverged")


DRAWN: dict[str, Any] = {"macro_f1_by": score_figure, "failures_by": failure_figure}
"""Figures along every swept number, by the beginning of their file names."""
