"""The folder of a run, before anything is written to it."""

from __future__ import annotations

import shutil
from pathlib import Path

from experiments.records.files import RECORD_FILE

RecordState = tuple[int, int] | None
"""Inode and time of change of a record; none where there is no record."""


def empty(folder: Path) -> None:
    """Remove what an earlier attempt left, the record first, so that no half-removed run looks finished."""
    (folder / RECORD_FILE).unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.name != ".lock":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def record_state(folder: Path) -> RecordState:
    """Return what tells a folder's record from any other that is written there; none where there is no record."""
    try:
        status = (folder / RECORD_FILE).stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
