"""Files that are either whole or absent."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path

from experiments.runs.errors import RecordError
from experiments.runs.record import Record

RECORD_FILE = "run.json"
PREDICTIONS_FILE = "predictions.parquet"
BEST, LAST = "best.ckpt", "last.ckpt"
NAMED = (PREDICTIONS_FILE, BEST)
"""Files whose SHA-256 a record names; ``last.ckpt`` is not one of them, since it also holds times."""
LARGEST_RECORD = 100_000_000
"""Bytes of the largest record that is read; those of long curves have a hundred thousand."""
WRITTEN = re.compile(
    r"run\.json|config\.yaml|hparams\.yaml|failure\.txt|metrics(\.earlier)?\.csv|predictions\.parquet|timing\.csv"
    r"|(best|last)(-v\d+)?\.ckpt|events\.out\.tfevents\.[\w.-]+|\.[\w.-]+\.partial"
)
"""Names of all files that a run leaves in its folder, or had begun to write."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``, which afterwards is either as before or complete, even after a power cut.

    Raises:
        RecordError: where the disk is full or the folder cannot be written; nothing half-written stays behind.
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
        RecordError: where the record holds a number that is not finite, or the file cannot be written.
    """
    path = folder / RECORD_FILE
    write_atomically(path, (record.to_json() + "\n").encode())
    return path


def read_record(folder: Path) -> Record:
    """Read ``run.json`` of a run folder.

    Raises:
        RecordError: where it is missing, truncated or not a record; the message names the file.
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
        False where nothing is named, as in older records and without a record: the file is unchecked.

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
