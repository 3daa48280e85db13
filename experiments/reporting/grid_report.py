"""From a grid and its records to the files of its report."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from experiments.errors import ExperimentError
from experiments.paths import runs_folder, tables_folder
from experiments.planning.grid import Grid
from experiments.reporting.console import print_result
from experiments.reporting.report import Description, write_report
from experiments.runs.store import Evidence, read_committed


def report_grid(grid: Grid, results: Path, console: Console) -> None:
    """Rewrite tables and figures from local and committed records, and print the result table.

    Raises:
        ExperimentError: where no run is finished; tuning trials that are alone are kept for ``--keep_committed``.
    """
    folder = tables_folder(results, grid.name, grid.corpus)
    evidence = Evidence.gather(runs_folder(results, grid.name, grid.corpus), folder)
    for note in evidence.notes:
        console.print(f"[yellow]{note}[/yellow]", soft_wrap=True)
    if not evidence.finals:
        if evidence.trials and not any(record.stage == "final" for record in read_committed(folder)):
            evidence.save(folder)
        raise ExperimentError(
            f"grid {grid.name} has {len(evidence.trials)} tuning trials and no finished run on {grid.corpus} yet; "
            "`run` makes what is missing"
        )
    description = describe(grid)
    written = write_report(evidence, folder, description)
    print_result(evidence, description, written, console)


def describe(grid: Grid) -> Description:
    """Return what the report says of the grid beside its runs."""
    conditions = grid.all_conditions
    return Description(
        arguments=grid.arguments,
        title=grid.title,
        purpose=grid.purpose,
        data_note=grid.note,
        conditions=tuple(dict.fromkeys(condition.name for condition in conditions)),
        titles={condition.name: condition.title for condition in conditions if condition.title},
        listed_trials={condition.name: condition.trials for condition in conditions} if grid.is_widened else {},
        planned=tuple((condition.name, condition.swept) for condition in conditions),
        seeds=grid.seeds,
    )
