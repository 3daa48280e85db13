"""What the sections of the benchmark's page are made of. Free of torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pandas as pd

from experiments.benchmark.table import VERSIONS
from experiments.reporting.render import TextTable, plural, rounded, to_markdown
from experiments.statistics.medians import MedianInterval, median_interval

VARYING = 0.2
"""Spread of a ratio over its rounds, as a share of the median, from which a table calls it varying."""


@dataclass(frozen=True)
class PageSection:
    """One question: what was found, the table, and how to read it."""

    title: str
    found: list[str]
    grid: TextTable
    notes: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        """Return the section."""
        return "\n\n".join([f"## {self.title}", *self.found, to_markdown(self.grid).rstrip(), *self.notes])


def series_of(measurements: pd.DataFrame, axis: str) -> Iterator[pd.DataFrame]:
    """Yield the rows of every series of an axis, in the order of measurement."""
    for _, rows in measurements[measurements["axis"] == axis].groupby("series", sort=False):
        yield rows


def spelled(found: MedianInterval, digits: int) -> str:
    """Return ``17.2 [17.0, 17.5]``."""
    return f"{rounded(found.median, digits)} [{rounded(found.low, digits)}, {rounded(found.high, digits)}]"


def coverage(count: int) -> str:
    """Return how often the interval of ``count`` values holds the true median, such as ``96.9%``."""
    return f"{median_interval(range(count)).coverage:.1%}"


def where(rows: pd.DataFrame) -> str:
    """Return on which machine, with which versions, and when rows were measured."""
    told = []
    for _, same in rows.groupby(["date", "cpu", "cores", *VERSIONS], sort=False):
        first = same.iloc[0]
        versions = ", ".join(f"{name} {first[name]}" for name in VERSIONS if first[name])
        loads = sorted(set(same["load_average"]), key=lambda load: float(load or 0))
        load = loads[0] if len(loads) == 1 else f"{loads[0]} to {loads[-1]}"
        told.append(
            f"{first['cpu']}, {first['cores']} cores; load average at the start {load}; {versions}; {first['date']}."
        )
    return " ".join(told)


def notice(rows: pd.DataFrame, ratios: pd.Series) -> str:
    """Say what a reader should know of a ratio's rounds: a busy machine, or ratios far apart; nothing if all is well.

    Args:
        rows: measurements of one series, with load average and cores.
        ratios: one per round.
    """
    first, told = rows.iloc[0], []
    if first["load_average"] and float(first["load_average"]) > float(first["cores"]):
        told.append(f"busy: load {first['load_average']} on {first['cores']} cores")
    if (ratios.max() - ratios.min()) / ratios.median() > VARYING:
        told.append(f"varying: {rounded(ratios.min(), 2)} to {rounded(ratios.max(), 2)}")
    return "; ".join(told)


def size_of(first: pd.Series) -> str:
    """Return variant, size, batches and precision of a measurement in words."""
    return (
        f"{first['variant']}, {plural(first['layers'], 'layer')}, width {first['width']}, batches of "
        f"{first['batch_size']} rows of {first['corpus']}, {plural(first['threads'], 'thread')}, {first['precision']}"
    )
