"""Making what a grid still lacks: tuning trials, then final runs with the chosen values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from experiments.errors import ExperimentError
from experiments.paths import runs_folder
from experiments.planning.expansion import final_runs, tune_runs
from experiments.planning.grid import Grid
from experiments.planning.runs import Run
from experiments.records.record import Record
from experiments.records.store import local_records
from experiments.running.display import Display
from experiments.running.pool import make_runs
from experiments.running.worker import Failed


def run_grid(grid: Grid, results: Path, workers: int, console: Console) -> int:
    """Make every missing run of ``grid`` and return how many failed.

    Raises:
        ExperimentError: for a user's mistake that a run stumbled over.
        DataError: where the corpus cannot be had.
    """
    fingerprint = prepare_corpus(grid, console)
    failed = 0
    trials = tune_runs(grid)
    if trials:
        failed += make_missing(trials, fingerprint, results, workers, console, "tuning run")
    finals = final_runs(grid, records_of(grid, results).values())
    pending = [run for run in finals if run.pending]
    if pending:
        names = sorted({run.condition for run in pending})
        console.print(
            f"[red]tuning is incomplete for {', '.join(names)}; their final runs wait for the next `run`[/red]"
        )
    ready = [run for run in finals if not run.pending]
    return failed + make_missing(ready, fingerprint, results, workers, console, "run")


def prepare_corpus(grid: Grid, console: Console) -> str:
    """Build or load the corpus once, before any worker needs it, and return its fingerprint."""
    from data_modules.corpora.load import prepare

    with console.status(f"preparing the corpus {grid.corpus}"):
        corpus = prepare(grid.conditions[0].config.data)
    rows = ", ".join(f"{len(split):,} {name}" for name, split in corpus.splits.items())
    console.print(f"corpus {corpus.slug}: {rows} rows, fingerprint {corpus.fingerprint[:12]}", highlight=False)
    return corpus.fingerprint


def records_of(grid: Grid, results: Path) -> dict[Path, Record]:
    """Return the readable local records of a grid by run folder."""
    return local_records(runs_folder(results, grid.name, grid.corpus))[0]


def is_finished(run: Run, record: Record | None, fingerprint: str | None) -> bool:
    """Return whether a record stands for this run: same configuration, same data, and not stopped by an error."""
    return (
        record is not None
        and record.config_hash == run.config.hash()
        and record.outcome.status != "failed"
        and (fingerprint is None or record.data.get("fingerprint") == fingerprint)
    )


def make_missing(
    runs: Sequence[Run], fingerprint: str, results: Path, workers: int, console: Console, what: str
) -> int:
    """Make the runs that have no valid record yet and return how many failed."""
    records = local_records(runs_folder(results, runs[0].grid, runs[0].corpus))[0] if runs else {}
    missing = [run for run in runs if not is_finished(run, records.get(run.folder(results)), fingerprint)]
    if len(missing) < len(runs):
        console.print(f"{len(runs) - len(missing)} of {len(runs)} {what}s are finished already", highlight=False)
    failed = 0
    with Display(len(missing), what, console) as display:
        for event in make_runs(missing, results, workers):
            display.show(event)
            if isinstance(event.message, Failed):
                if event.message.mistake:
                    raise ExperimentError(event.message.reason)
                failed += 1
    return failed
