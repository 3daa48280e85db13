"""Making the runs that a grid still lacks: tuning trials, then final runs with the chosen values."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from data_modules.config import SPLIT_SETTINGS, DataConfig
from experiments.errors import ExperimentError
from experiments.making.display import Display
from experiments.making.engines import Engine
from experiments.making.messages import Failed, Skipped
from experiments.planning.expansion import final_runs, tune_runs
from experiments.planning.grid import Grid
from experiments.planning.runs import Run
from experiments.runs.finished import FinishedRuns, refuse_other_text
from experiments.runs.run_folder import is_locked
from experiments.tasks import task_named

POLL_SECONDS = 1.0
"""Seconds between two looks at runs that another process is making."""


def run_grid(grid: Grid, results: Path, engine: Engine, console: Console, *, keep_committed: bool = False) -> list[str]:
    """Make every missing run of ``grid`` and return, for each that failed, its name and the reason.

    Committed records count as finished runs only where ``keep_committed`` says so.

    Raises:
        ExperimentError: for a user's mistake that a run met, or if its folders hold runs of another text.
        DataError: if the corpus cannot be had.
    """
    text = prepare_corpus(grid, console)
    texts = [(text.fingerprint, split_hash) for split_hash in text.split_hashes.values()]
    finished = FinishedRuns(grid, results, committed=keep_committed, texts=texts)
    refuse_other_text(grid, results, text.fingerprint)

    def is_made(run: Run) -> bool:
        return finished.holds(run, text.fingerprint, text.split_hashes[splitting(run.config.data)])

    def make(runs: Sequence[Run], what: str) -> list[str]:
        return make_missing(runs, is_made, results, engine, console, what)

    failed = []
    tried: set[str] = set()
    while True:  # a further trial follows from those before it
        known = [run for run in tune_runs(grid, finished.records()) if not run.pending and run.name not in tried]
        if not known:
            break
        tried |= {run.name for run in known}
        failed += make(known, "trial")
    finals = final_runs(grid, finished.records())
    pending = [run for run in finals if run.pending]
    if pending:
        names = sorted({run.condition for run in pending})
        console.print(
            f"[red]tuning is incomplete for {', '.join(names)}; their final runs wait for the next `run`[/red]"
        )
    ready = [run for run in finals if not run.pending]
    return failed + make(ready, "run")


@dataclass(frozen=True)
class Text:
    """What a grid's runs are made on."""

    fingerprint: str
    split_hashes: dict[tuple[Any, ...], str]
    """Digest of the rows of the splits, by the settings that decide them."""


def prepare_corpus(grid: Grid, console: Console) -> Text:
    """Build or load the corpus and its tokens once, before any worker needs them, and return what identifies it.

    Raises:
        DataError: if the corpus, or a tokenizer of the grid, cannot be had.
    """
    from data_modules.cleaning.prepared import prepare

    module = task_named(grid.conditions[0].config.task).load("data")
    with console.status(f"preparing the corpus {grid.corpus}"):
        corpus = prepare(grid.conditions[0].config.data)
        configs = [run.config.text for run in final_runs(grid)]
        for config in first_of_each(encoding, configs):
            module.from_config(config).prepare_data()
        hashes = {splitting(config): prepare(config).split_hash for config in first_of_each(splitting, configs)}
    rows = ", ".join(f"{len(split):,} {name}" for name, split in corpus.splits.items())
    console.print(f"corpus {corpus.slug}: {rows} rows ({corpus.fingerprint[:12]})", highlight=False)
    return Text(corpus.fingerprint, hashes)


def encoding(config: DataConfig) -> tuple[Any, ...]:
    """Return the settings that decide how a text is cut into tokens."""
    return config.tokenizer, config.vocabulary_size, config.lowercase, config.max_length


def splitting(config: DataConfig) -> tuple[Any, ...]:
    """Return the settings that decide which rows the splits of a text hold."""
    return tuple(getattr(config, name) for name in SPLIT_SETTINGS)


def first_of_each(kind: Callable[[DataConfig], tuple[Any, ...]], configs: Iterable[DataConfig]) -> Iterable[DataConfig]:
    """Return the first configuration of every kind."""
    found: dict[tuple[Any, ...], DataConfig] = {}
    for config in configs:
        found.setdefault(kind(config), config)
    return found.values()


def make_missing(
    runs: Sequence[Run], is_made: Callable[[Run], bool], results: Path, engine: Engine, console: Console, what: str
) -> list[str]:
    """Make the runs that are not made yet and return, for each that failed, its name and the reason.

    Runs that another process is making are waited for. A run that it gives up is made here.
    """
    missing = [run for run in runs if not is_made(run)]
    if len(missing) < len(runs):
        console.print(f"{len(runs) - len(missing)} of {len(runs)} {what}s are finished already", highlight=False)
    failed: list[str] = []
    while missing:
        skipped = []
        with (
            Display(len(missing), what, console) as display,
            closing(engine.make_runs(missing, results, is_made)) as events,
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
