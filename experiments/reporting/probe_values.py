"""What was measured inside the networks of a grid, taken from records: by depth, by step, over seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.reporting.curves import Band, band_of
from experiments.reporting.probe_panels import Panel
from experiments.reporting.rows import Row
from experiments.runs.record import Record


@dataclass(frozen=True)
class Column:
    """What one column of panels shows."""

    title: str
    points: Callable[[Record, str], dict[float, float | None]]
    """Maps a probed run and a measure to the values along the x axis."""


def probed_rows(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of networks with blocks that were probed."""
    return [row for row in rows if runs_of(row)]


def runs_of(row: Row) -> list[Record]:
    """Return the runs of a row whose records hold measurements of blocks."""
    return [run for run in row.records if blocks_of(run) > 0]


def blocks_of(run: Record) -> int:
    """Return the number of blocks that were measured in a run; 0 where it was not probed."""
    measured = (run.history.get("probes") or {}).get("stream_rms") or [[None]]
    return len(measured[0]) - 1


def first_step(rows: Sequence[Row]) -> int:
    """Return the earliest step at which any run was measured."""
    return min(run.history["probes"]["step"][0] for row in rows for run in runs_of(row))


def last_step(rows: Sequence[Row]) -> int:
    """Return the latest step at which any run was measured; one that diverged may have ended before."""
    return max(run.history["probes"]["step"][-1] for row in rows for run in runs_of(row))


def along_depth(run: Record, measure: str, *, step: int) -> dict[float, float | None]:
    """Return the values of a measure by the number of blocks below, at one step; empty where there are none."""
    probes = run.history["probes"]
    if step not in probes["step"] or measure not in probes:
        return {}
    values = probes[measure][probes["step"].index(step)]
    return {blocks_of(run) + 1 - len(values) + place: value for place, value in enumerate(values)}


def along_steps(run: Record, measure: str, *, share: float) -> dict[float, float | None]:
    """Return the values of a measure by step in the block that stands at ``share`` of the depth; 0: the first one."""
    probes = run.history["probes"]
    place = round((1 - share) * (blocks_of(run) - 1))
    return {
        step: values[len(values) - 1 - place]
        for step, values in zip(probes["step"], probes.get(measure) or [], strict=False)
    }


def points_of(run: Record, panel: Panel, column: Column) -> dict[float, float | None]:
    """Return the values of a panel's measure along the x axis, over the measure that it is relative to."""
    values = column.points(run, panel.measure)
    base = column.points(run, panel.over) if panel.over else {}
    return {x: panel.relative(value, base.get(x)) for x, value in values.items()}


def probe_band(row: Row, panel: Panel, column: Column) -> Band | None:
    """Return mean and band over the seeds of a row; on a log scale the geometric mean of what is above 0."""
    values: dict[float, list[float]] = {}
    for run in runs_of(row):
        for x, value in points_of(run, panel, column).items():
            if value is not None and (value > 0 or not panel.log):
                values.setdefault(x, []).append(value)
    return band_of(values, geometric=panel.log)


def values_of(row: Row, panel: Panel, column: Column) -> np.ndarray:
    """Return every value of a measure in the runs of a row, NaN where there is none."""
    found = [value for run in runs_of(row) for value in points_of(run, panel, column).values()]
    return np.array([np.nan if value is None else value for value in found], dtype=float)
