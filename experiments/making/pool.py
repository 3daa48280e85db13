"""Many runs in parallel worker processes. One worker's death costs one run, which is made again once."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Self

from experiments.making.messages import Event, Failed, Finished, Message, Skipped
from experiments.making.worker import serve, write_failure
from experiments.planning.runs import Run
from experiments.runs.run_folder import Mark, record_mark
from lightning_modules.schemes.own_files import LOADED

ATTEMPTS = 2
"""How often a run is tried whose worker dies."""

PATIENCE = 5.0
"""Seconds in which workers may end by themselves before they are ended."""


class Worker:
    """A process and the run that it is making."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.run: Run | None = None
        self.start()

    def start(self) -> None:
        """Start the process; ``spawn`` shares no state of torch's threads with the parent."""
        context = multiprocessing.get_context("spawn")
        self.connection: Connection
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=serve, args=(theirs, tuple(LOADED.values())), daemon=True)
        with interrupts_ignored():  # which the process inherits, so that Ctrl-C cannot disturb its start
            self.process.start()
        theirs.close()

    def give(self, run: Run, results: Path, seen: Mark) -> None:
        """Hand the process its next run and that run's mark; a process that died while idle is replaced."""
        self.run = run
        try:
            self.connection.send((run, results, seen))
        except OSError:
            self.stop()
            self.start()
            self.connection.send((run, results, seen))

    def stop(self, patience: float = PATIENCE) -> None:
        """End the process: a closed connection asks it to clear up and leave; if it stays, it is killed.

        An unfinished run has no record and is made again next time.
        """
        self.connection.close()
        self.process.join(patience)
        self.process.terminate()
        self.process.join(patience)
        self.process.kill()
        self.process.join()


@contextmanager
def interrupts_ignored() -> Iterator[None]:
    """Ignore Ctrl-C for a moment, if this thread may decide that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Pool:
    """Worker processes that start once, when there are runs for them, and wait for more until the pool is left.

    Args:
        workers: most processes that make runs at the same time.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.crew: list[Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.dismiss()

    def make_runs(
        self, runs: Sequence[Run], results: Path, is_made: Callable[[Run], bool] = lambda run: False
    ) -> Generator[Event, None, None]:
        """Make ``runs`` and yield what happens, until every run has ended.

        A run whose worker dies is tried once more in a new process and then reported as ``Failed``. A run that
        ``is_made`` by the time that it would start is ``Skipped``, also where that happens while its worker still
        starts. Closing the generator while runs are being made ends all workers.
        """
        waiting = deque(runs)
        attempts: Counter[str] = Counter()
        while len(self.crew) < min(self.workers, len(runs)):
            self.crew.append(Worker(len(self.crew)))
        try:
            while waiting or any(worker.run for worker in self.crew):
                yield from self._hand_out(waiting, results, is_made, attempts)
                for worker, run in ready(self.crew):
                    message = receive(worker)
                    if message is not None:
                        if isinstance(message, Finished | Skipped | Failed):
                            worker.run = None
                        yield Event(run, message, worker.number)
                        continue
                    worker.run = None
                    worker.stop()
                    worker.start()
                    if attempts[run.name] < ATTEMPTS:
                        waiting.appendleft(run)
                    else:
                        reason = f"its worker process died {ATTEMPTS} times"
                        write_failure(run, results, reason)
                        yield Event(run, Failed(reason, mistake=False), worker.number)
        finally:
            if any(worker.run for worker in self.crew):
                self.dismiss()

    def _hand_out(
        self, waiting: deque[Run], results: Path, is_made: Callable[[Run], bool], attempts: Counter[str]
    ) -> Generator[Event, None, None]:
        """Give every idle worker a run, and yield the runs that are made already."""
        for worker in self.crew:
            while worker.run is None and waiting:
                run = waiting.popleft()
                seen = record_mark(run.folder(results))  # before asking: a record written after it is noticed
                if is_made(run):
                    yield Event(run, Skipped(), worker.number)
                    continue
                attempts[run.name] += 1
                worker.give(run, results, seen)

    def dismiss(self) -> None:
        """End all workers."""
        with interrupts_ignored():  # a second Ctrl-C must not leave processes behind
            for worker in self.crew:
                worker.connection.close()
            for worker in self.crew:
                worker.stop()
        self.crew = []


def make_runs(runs: Sequence[Run], results: Path, workers: int) -> Generator[Event, None, None]:
    """Make ``runs`` in a pool of their own and yield what happens."""
    with Pool(workers) as pool:
        yield from pool.make_runs(runs, results)


def ready(crew: Sequence[Worker]) -> list[tuple[Worker, Run]]:
    """Return the busy workers that have sent something or died, with their runs; wait for the first, if any."""
    busy = {worker.connection: (worker, worker.run) for worker in crew if worker.run is not None}
    if not busy:  # the last runs were all skipped; waiting for nobody would never end
        return []
    return [busy[connection] for connection in wait(list(busy)) if isinstance(connection, Connection)]


def receive(worker: Worker) -> Message | None:
    """Return the worker's next message; None if the process died."""
    try:
        return worker.connection.recv()
    except (EOFError, OSError):  # OSError: it died in the middle of a message
        return None
