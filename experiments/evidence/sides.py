"""Whether a grid has the runs that a part of a claim compares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.errors import ExperimentError
from experiments.evidence.claim import Claim
from experiments.evidence.measures import MEASURES
from experiments.evidence.part import Part, Side
from experiments.planning.grid import Grid
from experiments.planning.names import reject_unknown
from experiments.runs.naming import spell


def check_sides(claim: Claim, part: Part, grid: Grid) -> None:
    """Raise :class:`ExperimentError` unless the grid has both sides of a part, at swept values that its measures allow.

    Values that a side leaves open make several runs of a seed, of which only shares of runs are measured.
    """
    where = f"claim {claim.id}: part {part.id}"
    single = [metric for metric in (part.metric, *part.shown) if MEASURES[metric].kind != "outcomes"]
    for side in (part.treatment, part.control):
        cells = cells_of(where, side, grid)
        if len(cells) > 1 and single:
            raise ExperimentError(
                f"{where}: {side.condition} has {len(cells)} runs a seed, but {single[0]} is measured on one; "
                f"say under swept which of {', '.join(cells[0])}"
            )


def cells_of(where: str, side: Side, grid: Grid) -> list[Mapping[str, Any]]:
    """Return the swept values of a side's runs.

    Raises:
        ExperimentError: where the grid has no such condition, or does not sweep such a value.
    """
    reject_unknown(f"{where}: condition", side.condition, sorted({condition.name for condition in grid.conditions}))
    cells = [condition.swept for condition in grid.conditions if condition.name == side.condition]
    for name, value in side.swept.items():
        reject_unknown(f"{where}: swept value", name, sorted({swept for cell in cells for swept in cell}))
        if all(cell[name] != value for cell in cells):
            tried = ", ".join(dict.fromkeys(spell(cell[name]) for cell in cells))
            raise ExperimentError(f"{where}: the grid {grid.name} does not sweep {name} {spell(value)}, only {tried}")
    return [cell for cell in cells if all(cell.get(name) == value for name, value in side.swept.items())]
