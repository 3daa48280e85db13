"""Snapshots as tables: thinned out for the terminal, complete as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from experiments.probing.snapshots import Snapshot
from experiments.reporting.render import EMPTY

SHOWN_DEPTHS = 5
"""Depths that a table in the terminal shows, which fit into 80 columns."""


def terminal_table(snapshot: Snapshot) -> Table:
    """Return a table with a row per measure and a column per depth, thinned out evenly where there are many."""
    step = "" if snapshot.step is None else f", step {snapshot.step}"
    table = Table(
        title=escape(f"{snapshot.name}{step}, by blocks below (0: the embedding)"),
        title_justify="left",
        box=None,
        padding=(0, 1, 0, 0),
    )
    table.add_column("measure", no_wrap=True)
    depths = shown_depths(snapshot.blocks)
    for depth in depths:
        table.add_column(str(depth), justify="right", no_wrap=True)
    for name in snapshot.measures:
        table.add_row(name, *(reading(value_at(snapshot, name, depth)) for depth in depths))
    return table


def shown_depths(blocks: int) -> list[int]:
    """Return at most ``SHOWN_DEPTHS`` depths from 0, the embedding, to the last block, evenly spread."""
    steps = min(blocks, SHOWN_DEPTHS - 1)
    return [round(index * blocks / steps) for index in range(steps + 1)] if steps else [0]


def value_at(snapshot: Snapshot, measure: str, depth: int) -> float | None:
    """Return a measure after so many blocks; None at the embedding where the measure belongs to blocks."""
    values = snapshot.measures[measure]
    place = depth - (snapshot.blocks + 1 - len(values))
    return values[place] if place >= 0 else None


def reading(value: float | None) -> str:
    """Return two significant digits with a real minus sign; a dash for what is not defined."""
    return EMPTY if value is None else f"{value:.2g}".replace("-", "−")


def as_csv(snapshots: Sequence[Snapshot]) -> str:
    """Return one row per snapshot and depth with a column per measure; an empty cell is not defined.

    Column ``depth`` counts the blocks below: 0 is the embedding, 1 the first block's output.
    """
    measures = list(dict.fromkeys(name for snapshot in snapshots for name in snapshot.measures))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["network", "corpus", "step", "depth", *measures])
    for snapshot in snapshots:
        for depth in range(snapshot.blocks + 1):
            values = [value_at(snapshot, name, depth) if name in snapshot.measures else None for name in measures]
            writer.writerow([snapshot.name, snapshot.corpus, snapshot.step, depth, *values])
    return buffer.getvalue()
