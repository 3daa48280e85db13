"""What a person sees of a grid: runs while they are made, how far it is, and its curves in TensorBoard.

While runs are made there is a line per worker on a terminal, and a line per finished run elsewhere.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from experiments.errors import ExperimentError
from experiments.escaping import for_terminal
from experiments.making.messages import Event, Failed, Finished, Skipped
from experiments.paths import below, runs_folder
from experiments.planning.expansion import final_runs, tune_runs
from experiments.planning.grid import Grid
from experiments.planning.runs import Run
from experiments.runs.record import Record
from experiments.runs.run_folder import is_locked
from experiments.runs.store import local_records


class Display:
    """Live progress of a list of runs: run k of n, epoch, loss, score on validation rows and the time left."""

    def __init__(self, total: int, what: str, console: Console | None = None) -> None:
        self.console = console or Console()
        self.total = total
        self.what = what
        self.done = 0
        self.working: dict[int, tuple[Run, Any]] = {}
        self.started = time.monotonic()
        self.live = Live(console=self.console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        self.console.print(f"[dim]each {self.what} as it ends, with its score on validation rows:[/dim]")
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live.is_started:
            self.live.stop()

    def show(self, event: Event) -> None:
        """Take an event in and redraw."""
        if isinstance(event.message, Finished | Failed | Skipped):
            self.done += 1
            self.working.pop(event.worker, None)
            # A terminal shows one line a run and cuts the name; a file gets it whole.
            if self.console.is_terminal:
                self.console.print(self._line(event), highlight=False, no_wrap=True, overflow="ellipsis")
            else:
                self.console.print(self._line(event), highlight=False, soft_wrap=True)
        else:
            self.working[event.worker] = (event.run, event.message)
        if self.live.is_started:
            self.live.update(self._table())

    def _line(self, event: Event) -> str:
        count = f"[dim]{self.what} {self.done:{len(str(self.total))}} of {self.total}[/dim]"
        match event.message:
            case Finished(outcome, value, metric):
                color = "green" if outcome.status == "trained" else "yellow"
                score = "" if value is None else f"{metric} {value:.3f}"
                ending = f"[{color}]{outcome.status:9}[/{color}] {score:14}"
            case Failed(reason):
                return f"{count} [red]failed[/red]    {event.run.name}: {for_terminal(reason)}"
            case _:
                ending = f"[dim]{'made by another process':24}[/dim]"
        return f"{count} {ending} [dim]{self._time_left():>12}[/dim]  {event.run.name}"

    def _time_left(self) -> str:
        if self.done == self.total:
            return ""
        seconds = (time.monotonic() - self.started) / self.done * (self.total - self.done)
        return f"{duration(seconds)} left"

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 1))
        for _ in range(4):
            table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis")
        for worker in sorted(self.working):
            run, progress = self.working[worker]
            loss = "" if progress.loss is None else f"loss {progress.loss:.3f}"
            percent = 100 * progress.step / max(progress.steps, 1)
            table.add_row(f"worker {worker + 1}", f"epoch {progress.epoch}", f"{percent:3.0f} %", loss, run.name)
        return table


def duration(seconds: float) -> str:
    """Return a duration for people: ``45 s``, ``12 min``, ``3.4 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


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
    summary = ", ".join(f"{totals[state]} {state}" for state in STATES if state != "no_parent" or totals[state])
    console.print(f"{totals.total()} runs: {summary}", highlight=False, soft_wrap=True)
    for problem in problems:
        console.print(f"[yellow]{for_terminal(problem)}; the next `run` makes this run again[/yellow]", soft_wrap=True)
    for folder, record in records.items():
        if record.outcome.status == "failed":
            reason = f"{folder.relative_to(results)}: {for_terminal(record.outcome.reason)}"
            console.print(f"[red]failed[/red] {reason}", highlight=False, soft_wrap=True)


def state_of(run: Run, record: Record | None, results: Path) -> str:
    """Return one of ``STATES`` for a run; a record of other settings does not count."""
    if is_locked(run.folder(results)):
        return "running"
    if run.pending or record is None or record.config_hash != run.config.hash():
        return "missing"
    return record.outcome.status


LOOK_SECONDS = 5.0
"""Seconds between two looks for runs that TensorBoard does not show yet."""


def watch(grid: Grid, results: Path, console: Console) -> None:
    """Show the curves of a grid's runs in TensorBoard until Ctrl-C, each under a name that its page has room for."""
    from tensorboard.program import TensorBoard

    runs = runs_folder(results, grid.name, grid.corpus)
    with TemporaryDirectory() as folder:
        link_curves(runs, Path(folder))
        server = TensorBoard()
        server.configure(argv=[None, "--logdir", folder, "--load_fast", "false"])
        console.print(f"TensorBoard: {server.launch()} (Ctrl-C ends it)", highlight=False, soft_wrap=True)
        with suppress(KeyboardInterrupt):
            while True:
                time.sleep(LOOK_SECONDS)
                link_curves(runs, Path(folder))


def link_curves(runs: Path, folder: Path) -> None:
    """Link every run folder of a grid into ``folder`` under its :func:`curve_name`, unless it is there already.

    TensorBoard calls a run by its path, and its page shows about 33 characters of that.

    Raises:
        ExperimentError: the system allows no links.
    """
    for path in sorted(runs.glob("*/*/seed_*")):
        link = folder / curve_name(*path.relative_to(runs).parts)
        if link.exists():
            continue
        try:
            link.symlink_to(below(runs, *path.relative_to(runs).parts).absolute(), target_is_directory=True)
        except OSError as error:
            reason = f"the system allows no links ({error.strerror})"
            raise ExperimentError(f"{reason}; start it with: tensorboard --logdir {runs}") from error


def curve_name(condition: str, cell: str, seed: str) -> str:
    """Name a run for TensorBoard: condition and seed, for which its page has room, then a word for each swept value.

    The page breaks long names at spaces.
    """
    return " ".join([condition, seed, *([] if cell == "default" else cell.split(","))])
