"""Making what a grid still lacks: tuning trials, then final runs with the chosen values."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path

from rich.console import Console

from data_modules.config import DataConfig
from experiments.errors import ExperimentError
from experiments.planning.expansion import final_runs, tune_runs
from experiments.planning.grid import Grid
from experiments.planning.runs import Run
from experiments.records.store import local_records
from experiments.running.display import Display
from experiments.running.finished import FinishedRuns, refuse_other_text
from experiments.running.locks import is_locked
from experiments.running.pool import make_runs
from experiments.running.worker import Failed, Skipped

POLL_SECONDS = 1.0
"""Between two looks at runs that another process is making."""


def run_grid(grid: Grid, results: Path, workers: int, console: Console, *, keep_committed: bool = False) -> list[str]:
    """Make every missing run of ``grid`` and return, for each that failed, its name and the reason.

    Committed records count as finished runs only where ``keep_committed`` says so.

    Raises:
        ExperimentError: for a user's mistake that a run stumbled over, or where its folders hold runs of another text.
        DataError: where the corpus cannot be had.
    """
    fingerprint = prepare_corpus(grid, console)
    finished = FinishedRuns(grid, results, committed=keep_committed)
    refuse_other_text(finished.folder, local_records(finished.folder)[0].values(), fingerprint)

    def is_made(run: Run) -> bool:
        return finished.holds(run, fingerprint)

    failed = make_missing(tune_runs(grid), is_made, results, workers, console, "trial")
    finals = final_runs(grid, finished.records())
    pending = [run for run in finals if run.pending]
    if pending:
        names = sorted({run.condition for run in pending})
        console.print(
            f"[red]tuning is incomplete for {', '.join(names)}; their final runs wait for the next `run`[/red]"
        )
    ready = [run for run in finals if not run.pending]
    return failed + make_missing(ready, is_made, results, workers, console, "run")


def prepare_corpus(grid: Grid, console: Console) -> str:
    """Build or load the corpus and its tokens once, before any worker needs them, and return its fingerprint.

    Raises:
        DataError: where the corpus, or a tokenizer of the grid, cannot be had.
    """
    from data_modules.corpora.load import prepare
    from data_modules.encoding import encode

    with console.status(f"preparing the corpus {grid.corpus}"):
        corpus = prepare(grid.conditions[0].config.data)
        for config in differently_encoded(run.config.data for run in final_runs(grid)):
            encode(prepare(config), config)
    rows = ", ".join(f"{len(split):,} {name}" for name, split in corpus.splits.items())
    console.print(f"corpus {corpus.slug}: {rows} rows ({corpus.fingerprint[:12]})", highlight=False)
    return corpus.fingerprint


def differently_encoded(configs: Iterable[DataConfig]) -> list[DataConfig]:
    """Return the first configuration of every tokenizer and length."""
    found: dict[tuple[str, int, bool, int], DataConfig] = {}
    for config in configs:
        found.setdefault((config.tokenizer, config.vocabulary_size, config.lowercase, config.max_length), config)
    return list(found.values())


def make_missing(
    runs: Sequence[Run], is_made: Callable[[Run], bool], results: Path, workers: int, console: Console, what: str
) -> list[str]:
    """Make the runs that are not made yet and return, for each that failed, its name and the reason.

    Runs that another process is making meanwhile are waited for; where it gives one up, that run is made here.
    """
    missing = [run for run in runs if not is_made(run)]
    if len(missing) < len(runs):
        console.print(f"{len(runs) - len(missing)} of {len(runs)} {what}s are finished already", highlight=False)
    failed: list[str] = []
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
                    failed.append(f"{event.run.name}: {event.message.reason}")
        while skipped and all(is_locked(run.folder(results)) for run in skipped):
            time.sleep(POLL_SECONDS)
        missing = [run for run in skipped if not is_made(run)]
    return failed
