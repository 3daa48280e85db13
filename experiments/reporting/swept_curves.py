"""Rows sorted along a swept number: a curve per condition, a panel per setting of everything else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.reporting.rows import Row
from experiments.reporting.spoken import spoken_setting

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
