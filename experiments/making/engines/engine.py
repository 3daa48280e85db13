"""What every engine does: make runs, report what happens, and stop when nobody listens any more."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from experiments.making.messages import Event
from experiments.planning.runs import Run


class Engine(ABC):
    """Makes runs. What it needs for that is there between entering and leaving it as a context."""

    def __enter__(self) -> Self:
        """Make sure that runs can be made.

        Raises:
            ExperimentError: where they cannot; the message says what to do.
        """
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give back what was taken."""
        return

    @abstractmethod
    def make_runs(
        self, runs: Sequence[Run], results: Path, is_made: Callable[[Run], bool]
    ) -> Generator[Event, None, None]:
        """Yield what happens while runs are made, until every run has ended; closing the generator cancels the rest.

        A run that another process is making, or that ``is_made`` by the time that it would start, is ``Skipped``. One
        that an error stopped, or whose process was lost too often, has a record of its failure and is ``Failed``.

        Raises:
            ExperimentError: where no run can be made at all.
        """
