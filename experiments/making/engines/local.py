"""Runs in worker processes of this machine, which is what every grid does unless told otherwise."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from types import TracebackType

from experiments.making.engines.engine import Engine
from experiments.making.messages import Event
from experiments.making.pool import Pool
from experiments.planning.runs import Run


class LocalEngine(Engine):
    """A pool of worker processes, which start once for all stages of a grid.

    Args:
        workers: processes that make runs at the same time.
    """

    def __init__(self, workers: int) -> None:
        self.pool = Pool(workers)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the processes."""
        self.pool.dismiss()

    def make_runs(
        self, runs: Sequence[Run], results: Path, is_made: Callable[[Run], bool]
    ) -> Generator[Event, None, None]:
        """Make the runs in the pool; closing the generator before they are made ends its processes."""
        yield from self.pool.make_runs(runs, results, is_made)
