"""The folder of a run, before anything is written to it."""

from __future__ import annotations

import shutil
from pathlib import Path

from experiments.runs.files import RECORD_FILE


def empty(folder: Path) -> None:
    """Remove what an earlier attempt left, the record first, so that no half-removed run looks finished."""
    (folder / RECORD_FILE).unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.name != ".lock":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
