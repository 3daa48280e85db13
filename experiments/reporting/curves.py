"""Curves: of several seeds brought together at every step, and of conditions along a swept number such as depth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.reporting.frame import Row
from experiments.reporting.render import spoken_setting
from experiments.statistics.seeds import spread

FIRST_STEPS = 10
"""Optimiser steps that count as the start of training; later ones show what training did to the gradients."""
FEWEST_FOR_INTERVAL = 3
"""Fewest seeds whose band is the t-interval of the mean; with fewer, the band is their range."""
FEWEST_VALUES = 3
"""Fewest values of a swept number for which a curve says more than a table."""


@dataclass(frozen=True)
class Band:
    """Mean over seeds along an axis with its 95 % t-interval; the range if there are fewer than three seeds."""

    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    counts: np.ndarray
    """Seeds with a value at each x."""


def seed_band(histories: Sequence[dict[str, Any]], x: str, y: str, *, geometric: bool = False) -> Band | None:
    """Join the curves of several seeds; at each x, over the seeds that have a value there. None without any value."""
    values: dict[float, list[float]] = {}
    for history in histories:
        for position, value in zip(history.get(x) or [], history.get(y) or [], strict=False):
            if value is not None and (value > 0 or not geometric):
                values.setdefault(position, []).append(value)
    return band_of(values, geometric=geometric)


def gradient_band(histories: Sequence[dict[str, Any]]) -> Band | None:
    """Return the gradient norm by block: the geometric mean over each seed's first steps, then over seeds.

    The x axis counts blocks from the embedding (0) to the head. Values that are zero or not finite are left out.
    """
    values: dict[float, list[float]] = {}
    for history in histories:
        by_block: dict[int, list[float]] = {}
        for norms in (history.get("blocks") or [])[: len(first_steps(history))]:
            for block, norm in enumerate(norms):
                if norm is not None and norm > 0:
                    by_block.setdefault(block, []).append(norm)
        for block, found in by_block.items():
            values.setdefault(block, []).append(geometric_mean(found))
    return band_of(values, geometric=True)


def first_steps(history: dict[str, Any]) -> list[int]:
    """Return the logged steps at the start of training; the first logged one if all are later."""
    steps = list(history.get("step") or [])
    return [step for step in steps if step <= FIRST_STEPS] or steps[:1]


def band_of(values: Mapping[float, Sequence[float]], *, geometric: bool = False) -> Band | None:
    """Return mean and band of the values at every x; None without any.

    A ``geometric`` mean has the t-interval of the logarithms, and needs values above 0.
    """
    if not values:
        return None
    x = sorted(values)
    points = [_point(np.log10(values[at]) if geometric else np.asarray(values[at])) for at in x]
    mean, low, high = (np.array(column) for column in zip(*points, strict=True))
    counts = np.array([len(values[at]) for at in x])
    if geometric:
        mean, low, high = 10**mean, 10**low, 10**high
    return Band(np.array(x), mean, low, high, counts)


def _point(values: np.ndarray) -> tuple[float, float, float]:
    found = spread(values.tolist())
    assert found.mean is not None
    if found.count < FEWEST_FOR_INTERVAL or found.low is None or found.high is None:
        return found.mean, float(values.min()), float(values.max())
    return found.mean, found.low, found.high


def spoken_bands(bands: Sequence[Band], *, geometric: bool = False) -> str:
    """Return what the lines and bands of a figure show, such as ``Lines: mean over seeds. Bands: their range.``"""
    counts = np.concatenate([band.counts for band in bands])
    if counts.max() == 1:
        return "Lines: one seed each."
    lines = f"Lines: {'geometric ' if geometric else ''}mean over seeds."
    if counts.max() < FEWEST_FOR_INTERVAL:
        return f"{lines} Bands: their range."
    exception = ", the range of fewer than 3" if (counts < FEWEST_FOR_INTERVAL).any() else ""
    return f"{lines} Bands: its 95 % t-interval{exception}."


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean of values above 0."""
    return float(10 ** np.mean(np.log10(values)))


@dataclass(frozen=True)
class SweptCurve:
    """The rows of one condition along one swept number, everything else held fixed."""

    label: str
    condition: str
    values: list[float]
    rows: list[Row]


@dataclass(frozen=True)
class SweptPanel:
    """The curves at one setting of everything else that is swept, and the rows that do not depend on the number."""

    title: str
    curves: list[SweptCurve]
    lines: list[Row]


def swept_numbers(swept: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the dotted names of swept settings that have at least three values, all of them numbers."""
    values: dict[str, list[Any]] = {}
    for setting in swept:
        for name, value in setting.items():
            values.setdefault(name, []).append(value)
    return sorted(
        name
        for name, found in values.items()
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in found)
        and len(set(found)) >= FEWEST_VALUES
    )


def panels_along(name: str, rows: Sequence[Row]) -> list[SweptPanel]:
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
            curves.append(SweptCurve(ordered[0].title, condition, values, ordered))
        panels.append(SweptPanel(title, curves, lines))
    return panels
