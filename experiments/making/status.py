"""How far a grid is: what is finished, how it ended, what is running and what is missing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from experiments.paths import runs_folder
from experiments.planning.expansion import final_runs, tune_runs
from experiments.planning.grid import Grid
from experiments.planning.runs import Run
from experiments.runs.locks import is_locked
from experiments.runs.record import Record
from experiments.runs.store import local_records

STATES = ("trained", "collapsed", "diverged", "no_parent", "failed", "running", "missing")


def print_status(grid: Grid, results: Path, console: Console) -> None:
    """Print one line per condition and stage, and where damaged records are."""
    records, problems = local_records(runs_folder(results, grid.name, grid.corpus))
    totals: Counter[str] = Counter()
    counts: dict[tuple[str, str], Counter[str]] = {}
    for run in [*tune_runs(grid, records.values()), *final_runs(grid, records.values())]:
        state = state_of(run, records.get(run.folder(results)), results)
        counts.setdefault((run.condition, run.stage), Counter())[state] += 1
        totals[state] += 1
    shown = [state for state in STATES if totals[state]]
    table = Table("condition", "stage", title=f"{grid.name} on {grid.corpus}", title_justify="left", box=None)
    for state in shown:
        table.add_column(state, justify="right")
    for (condition, stage), states in counts.items():
        table.add_row(condition, stage, *(str(states[state] or "") for state in shown))
    console.print(table)
    summary = ", ".join(f"{totals[state]} {state}" for state in STATES)
    console.print(f"{totals.total()} runs: {summary}", highlight=False, soft_wrap=True)
    for problem in problems:
        console.print(f"[yellow]{escape(problem)}; the next `run` makes this run again[/yellow]", soft_wrap=True)
    for folder, record in records.items():
        if record.outcome.status == "failed":
            reason = f"{folder.relative_to(results)}: {escape(record.outcome.reason)}"
            console.print(f"[red]failed[/red] {reason}", highlight=False, soft_wrap=True)


def state_of(run: Run, record: Record | None, results: Path) -> str:
    """Return one of ``STATES`` for a run; a record of other settings does not count."""
    if is_locked(run.folder(results)):
        return "running"
    if run.pending or record is None or record.config_hash != run.config.hash():
        return "missing"
    return record.outcome.status
