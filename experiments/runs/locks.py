"""One process at a time in a run folder, and no run made again that another process made meanwhile."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from experiments.errors import ExperimentError
from experiments.runs.files import RECORD_FILE

Mark = tuple[int, int] | None
"""What tells a record from a later one in the same folder; none where there is no record."""
UNSEEN: Mark = (-1, -1)
"""The mark of whoever did not look, and makes the run whatever there is."""


class Busy(Exception):
    """Another process is making this run, or has just made it."""


def record_mark(folder: Path) -> Mark:
    """Return the mark of the record in a run folder: a record is replaced as a whole, so each is a file of its own."""
    try:
        found = (folder / RECORD_FILE).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


@contextmanager
def locked(folder: Path, seen: Mark = UNSEEN) -> Iterator[None]:
    """Hold the lock of a run folder; the system releases it even when the process is killed.

    Args:
        folder: the run folder.
        seen: mark of the record from before it was decided that the run is to be made.

    Raises:
        Busy: where another process holds it, or has written a record since.
        ExperimentError: where the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        opened = (folder / ".lock").open("w")
    except OSError as error:
        raise ExperimentError(f"{error.filename or folder} cannot be written: {error.strerror or error}") from error
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(folder) from None
        if seen != UNSEEN and record_mark(folder) != seen:
            raise Busy(folder)
        yield


def is_locked(folder: Path) -> bool:
    """Return whether a process is making this run now."""
    if not (folder / ".lock").exists():
        return False
    with (folder / ".lock").open("r") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
