"""The folder of a run: files that are either whole or absent, one process at a time, and no run made twice."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from experiments.errors import ExperimentError, RecordError
from experiments.runs.record import Record

RECORD_FILE = "run.json"
PREDICTIONS_FILE = "predictions.parquet"
BEST, LAST = "best.ckpt", "last.ckpt"
NAMED = (PREDICTIONS_FILE, BEST)
"""Files whose SHA-256 a record names. ``last.ckpt`` is not among them, as it holds times: it has a digest of its
numbers."""
LARGEST_RECORD = 100_000_000
"""Bytes of the largest record that is read; those of long curves have a hundred thousand."""
WRITTEN = re.compile(
    r"run\.json|config\.yaml|hparams\.yaml|failure\.txt|metrics(\.earlier)?\.csv|predictions\.parquet|timing\.csv"
    r"|tokenizer\.json"
    r"|(best|last)(-v\d+)?\.ckpt|events\.out\.tfevents\.[\w.-]+|\.[\w.-]+\.partial"
)
"""Names of all files that a run leaves in its folder, or had begun to write."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``, which afterwards is either as before or complete, even after a power cut.

    Raises:
        RecordError: if the disk is full or the folder cannot be written; nothing half-written stays behind.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)
        with partial.open("xb") as file:  # a file of our own: nothing that lies in wait under this name
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise RecordError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def write_record(folder: Path, record: Record) -> Path:
    """Write ``run.json`` in a run folder atomically and return its path.

    Raises:
        RecordError: if the record holds a number that is not finite, or the file cannot be written.
    """
    path = folder / RECORD_FILE
    write_atomically(path, (record.to_json() + "\n").encode())
    return path


def read_record(folder: Path) -> Record:
    """Read ``run.json`` of a run folder.

    Raises:
        RecordError: if it is missing, truncated or not a record; the message names the file.
    """
    path = folder / RECORD_FILE
    try:
        if path.stat().st_size > LARGEST_RECORD:
            raise RecordError(f"{path} is damaged: it is larger than {LARGEST_RECORD:,} bytes")
        text = path.read_bytes().decode()
    except UnicodeDecodeError:
        raise RecordError(f"{path} is damaged: it is not UTF-8 text") from None
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error.strerror or error}") from None
    return Record.from_json(text, origin=str(path))


def remove_earlier_attempt(folder: Path) -> None:
    """Remove what an earlier attempt left, the record first, so that no half-removed run looks finished.

    Only files that runs write are removed; whatever else a person keeps in the folder stays.
    """
    (folder / RECORD_FILE).unlink(missing_ok=True)
    for path in folder.iterdir():
        if WRITTEN.fullmatch(path.name) and (path.is_symlink() or path.is_file()):
            path.unlink()  # of a link, the link alone


def left_files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of the files in a run folder that its record is to name."""
    return {name: sha256_of(folder / name) for name in NAMED if (folder / name).is_file()}


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_file(path: Path, record: Record | None, remedy: str = "make the run again") -> bool:
    """Compare a file in a run folder with the SHA-256 that its record names.

    Args:
        path: the file.
        record: that of its folder.
        remedy: what a person can do about another file.

    Returns:
        False if nothing is named, as in older records and without a record: then the file is unchecked.

    Raises:
        RecordError: it is another file than the run left.
    """
    named = None if record is None else record.files.get(path.name)
    if named is None:
        return False
    try:
        found = sha256_of(path)
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error.strerror or error}") from None
    if found != named:
        raise RecordError(
            f"{path} is damaged or is not what its run left: its SHA-256 is {found[:16]}…, and {RECORD_FILE} names "
            f"{named[:16]}…; {remedy}"
        )
    return True


LOCK_FILE = ".lock"
"""Name of the file that is locked; it stays, since removing it would let two processes hold one lock."""
Mark = tuple[int, int] | None
"""Mark that tells a record from a later one in the same folder; None without a record."""
UNSEEN: Mark = (-1, -1)
"""The mark of a caller that did not look, and makes the run in any case."""


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
    """Keep every other process that asks for the same folder waiting; the system releases the lock of a killed one.

    If a folder is missing, or cannot be written or locked (some network file systems), nobody waits.
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
