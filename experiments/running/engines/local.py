"""Runs in worker processes of this machine, which is what every grid does unless told otherwise."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from experiments.planning.runs import Run
from experiments.running.engines.engine import Engine, Event
from experiments.running.pool import make_runs


class LocalEngine(Engine):
    """A pool of worker processes.

    Args:
        workers: processes that make runs at the same time.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def make_runs(
        self, runs: Sequence[Run], results: Path, is_made: Callable[[Run], bool]
    ) -> Generator[Event, None, None]:
        """Make the runs in the pool; closing the generator ends its processes."""
        yield from make_runs(runs, results, self.workers, is_made)
