"""One process at a time in a run folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from experiments.errors import ExperimentError


class Busy(Exception):
    """Another process is making this run."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder; the system releases it even when the process is killed.

    Raises:
        Busy: where another process holds it.
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
