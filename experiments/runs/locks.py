"""One process at a time in a run folder, and no run made twice by two processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from experiments.errors import ExperimentError
from experiments.runs.files import RECORD_FILE

LOCK_FILE = ".lock"
"""Name of the file that is locked; it stays, since removing it would let two processes hold one lock."""
Mark = tuple[int, int] | None
"""What tells a record from a later one in the same folder; None without a record."""
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
        Busy: another process holds it, or has written a record since.
        ExperimentError: the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = FileLock(folder / LOCK_FILE).acquire(blocking=False)
    except Timeout:
        raise Busy(folder) from None
    except OSError as error:
        raise ExperimentError(f"{error.filename or folder} cannot be written: {error.strerror or error}") from error
    with held:
        if seen != UNSEEN and record_mark(folder) != seen:
            raise Busy(folder)
        yield


def is_locked(folder: Path) -> bool:
    """Tell whether a process is making this run now; a lock that may not be asked counts as free."""
    path = folder / LOCK_FILE
    if not path.exists():
        return False
    try:
        with FileLock(path, blocking=False):
            return False
    except Timeout:
        return True
    except OSError:
        return False


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Keep every other process that asks for the same folder waiting; the system lets go even of a killed one.

    A folder that is missing, or cannot be written or locked (some network file systems), keeps nobody waiting.
    """
    lock = FileLock(folder / LOCK_FILE)
    with suppress(OSError):
        if folder.is_dir():
            lock.acquire()
    try:
        yield
    finally:
        if lock.is_locked:
            lock.release()
