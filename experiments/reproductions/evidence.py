"""Everything a verdict is made from: the measured rows of every seed, from measurements or from a grid's records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.paths import runs_folder, tables_folder
from experiments.planning.expansion import final_runs
from experiments.planning.grid import Grid
from experiments.planning.names import reject_unknown
from experiments.reproductions.claim import Claim
from experiments.reproductions.measurements import Measurement, gather
from experiments.reproductions.rules import QUANTITIES
from experiments.reproductions.setups import AdamStability
from experiments.reproductions.verdicts import Judgement, judge
from experiments.runs.record import Record
from experiments.runs.store import Evidence

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Result:
    """A claim with its measured rows and its judgement."""

    claim: Claim
    rows: DataFrame
    """The measurement's columns after ``seed``; empty where a seed or a run of the grid is missing."""

    judgement: Judgement
    missing: str
    """What is missing, for a person; nothing where all is there."""

    measurements: tuple[Measurement, ...] = ()
    """What the rows come from; nothing where a grid's records are judged."""

    def quantities(self) -> list[dict[str, float | None]]:
        """Return the quantities of the rule, of each seed."""
        return quantities_by_seed(self.claim, self.rows)


def gather_result(claim: Claim, results: Path) -> Result:
    """Collect what was measured for a claim and judge it.

    Raises:
        ExperimentError: where a file is damaged, or the rule speaks of a quantity that the measurement does not have.
    """
    from pandas import DataFrame

    measurements: tuple[Measurement, ...] = ()
    if isinstance(claim.setup, AdamStability):
        rows, missing = grid_rows(claim.setup, results)
    else:
        measurements = tuple(gather(results, claim))
        rows = [{"seed": measurement.seed, **row} for measurement in measurements for row in measurement.rows]
        absent = len(claim.seeds) - len(measurements)
        missing = f"{absent} of {len(claim.seeds)} seeds are not measured" if absent else ""
    frame = DataFrame(rows if not missing else [], columns=["seed", *claim.setup.keys, *claim.setup.values])
    judgement = judge(claim.rule, claim.findings, quantities_by_seed(claim, frame))
    return Result(claim, frame, judgement, missing, measurements)


def quantities_by_seed(claim: Claim, rows: DataFrame) -> list[dict[str, float | None]]:
    """Return the quantities of the claim's rule, of each seed that has rows."""
    return [QUANTITIES[claim.measurement](of_seed) for _, of_seed in rows.groupby("seed")]


def grid_rows(setup: AdamStability, results: Path) -> tuple[list[dict[str, Any]], str]:
    """Return one row for each finished run of the grid, and how many runs are missing, as a sentence."""
    grid = Grid.load(setup.grid)
    for variant in setup.variants:
        reject_unknown("condition", variant, [condition.name for condition in grid.conditions])
    wanted = {run.config.hash() for run in final_runs(grid) if run.condition in setup.variants}
    planned = len(wanted) * len(grid.seeds)
    evidence = Evidence.gather(
        runs_folder(results, grid.name, grid.corpus), tables_folder(results, grid.name, grid.corpus), wanted
    )
    rows = [run_row(record) for record in evidence.finals]
    return rows, f"{planned - len(rows)} of {planned} runs are not made" if len(rows) < planned else ""


def run_row(record: Record) -> dict[str, Any]:
    """Return what the rule needs of one run; only ``trained`` counts as converged."""
    return {
        "seed": record.seed,
        "variant": record.condition,
        "learning_rate": record.swept["model.learning_rate"],
        "beta2": record.swept["model.beta2"],
        "converged": record.outcome.status == "trained",
        "macro_f1": None if record.test is None else record.test.metrics["macro_f1"],
    }
