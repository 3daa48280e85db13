"""How far a grid is: what is finished, how it ended, what is running and what is missing."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from experiments.paths import runs_folder
from experiments.planning.expansion import final_runs, tune_runs
from experiments.planning.grid import Grid
from experiments.planning.runs import Run
from experiments.records.record import Record
from experiments.records.store import local_records
from experiments.running.locks import is_locked

STATES = ("trained", "collapsed", "diverged", "failed", "running", "missing")


def print_status(grid: Grid, results: Path, console: Console) -> None:
    """Print one line per condition and stage, and where damaged records are."""
    records, problems = local_records(runs_folder(results, grid.name, grid.corpus))
    table = Table("condition", "stage", *STATES, title=f"{grid.name} on {grid.corpus}", title_justify="left")
    totals: Counter[str] = Counter()
    counts: dict[tuple[str, str], Counter[str]] = {}
    for run in [*tune_runs(grid), *final_runs(grid, records.values())]:
        state = state_of(run, records.get(run.folder(results)), results)
        counts.setdefault((run.condition, run.stage), Counter())[state] += 1
        totals[state] += 1
    for (condition, stage), states in counts.items():
        table.add_row(condition, stage, *(str(states[state] or "") for state in STATES))
    table.add_section()
    table.add_row("all", "", *(str(totals[state] or "") for state in STATES))
    console.print(table)
    for problem in problems:
        console.print(f"[yellow]{problem}; the next `run` makes this run again[/yellow]")
    for folder, record in records.items():
        if record.outcome.status == "failed":
            console.print(f"[red]failed[/red] {folder.relative_to(results)}: {record.outcome.reason}", highlight=False)


def state_of(run: Run, record: Record | None, results: Path) -> str:
    """Return one of ``STATES`` for a run; a record of other settings does not count."""
    if is_locked(run.folder(results)):
        return "running"
    if run.pending or record is None or record.config_hash != run.config.hash():
        return "missing"
    return record.outcome.status
