"""What a person sees while runs are made: a line per worker on a terminal, a line per finished run elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from experiments.making.messages import Event, Failed, Finished, Skipped
from experiments.planning.runs import Run


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
                return f"{count} [red]failed[/red]    {event.run.name}: {escape(reason)}"
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
