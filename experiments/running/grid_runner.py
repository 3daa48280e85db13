"""Making what a grid still lacks: tuning trials, then final runs with the chosen values."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from rich.console import Console

from experiments.errors import ExperimentError
from experiments.planning.expansion import final_runs, tune_runs
from experiments.planning.grid import Grid
from experiments.planning.runs import Run
from experiments.records.store import local_records
from experiments.running.display import Display
from experiments.running.finished import FinishedRuns, refuse_other_text
from experiments.running.locks import is_locked
from experiments.running.pool import make_runs
from experiments.running.population_runner import make_populations
from experiments.running.worker import Failed, Skipped

POLL_SECONDS = 1.0
"""Between two looks at runs that another process is making."""


def run_grid(
    grid: Grid, results: Path, workers: int, console: Console, *, keep_committed: bool = False, population: int = 1
) -> int:
    """Make every missing run of ``grid`` and return how many failed.

    Committed records count as finished runs only where ``keep_committed`` says so. Up to ``population`` runs of one
    architecture are trained together as one batched model; 1 trains every run by itself.

    Raises:
        ExperimentError: for a user's mistake that a run stumbled over, or where its folders hold runs of another text.
        DataError: where the corpus cannot be had.
    """
    fingerprint = prepare_corpus(grid, console)
    finished = FinishedRuns(grid, results, committed=keep_committed)
    refuse_other_text(finished.folder, local_records(finished.folder)[0].values(), fingerprint)

    def is_made(run: Run) -> bool:
        return finished.holds(run, fingerprint)

    def make(runs: Sequence[Run], what: str) -> int:
        if population > 1:
            make_populations([run for run in runs if not is_made(run)], results, population, console)
        return make_missing(runs, is_made, results, workers, console, what)

    failed = make(tune_runs(grid), "trial")
    finals = final_runs(grid, finished.records())
    pending = [run for run in finals if run.pending]
    if pending:
        names = sorted({run.condition for run in pending})
        console.print(
            f"[red]tuning is incomplete for {', '.join(names)}; their final runs wait for the next `run`[/red]"
        )
    ready = [run for run in finals if not run.pending]
    return failed + make(ready, "run")


def prepare_corpus(grid: Grid, console: Console) -> str:
    """Build or load the corpus once, before any worker needs it, and return its fingerprint."""
    from data_modules.corpora.load import prepare

    with console.status(f"preparing the corpus {grid.corpus}"):
        corpus = prepare(grid.conditions[0].config.data)
    rows = ", ".join(f"{len(split):,} {name}" for name, split in corpus.splits.items())
    console.print(f"corpus {corpus.slug}: {rows} rows ({corpus.fingerprint[:12]})", highlight=False)
    return corpus.fingerprint


def make_missing(
    runs: Sequence[Run], is_made: Callable[[Run], bool], results: Path, workers: int, console: Console, what: str
) -> int:
    """Make the runs that are not made yet and return how many failed.

    Runs that another process is making meanwhile are waited for; where it gives one up, that run is made here.
    """
    missing = [run for run in runs if not is_made(run)]
    if len(missing) < len(runs):
        console.print(f"{len(runs) - len(missing)} of {len(runs)} {what}s are finished already", highlight=False)
    failed = 0
    while missing:
        skipped = []
        with (
            Display(len(missing), what, console) as display,
            closing(make_runs(missing, results, workers, is_made)) as events,
        ):
            for event in events:
                display.show(event)
                if isinstance(event.message, Skipped):
                    skipped.append(event.run)
                if isinstance(event.message, Failed):
                    if event.message.mistake:
                        raise ExperimentError(event.message.reason)
                    failed += 1
        while skipped and all(is_locked(run.folder(results)) for run in skipped):
            time.sleep(POLL_SECONDS)
        missing = [run for run in skipped if not is_made(run)]
    return failed
