"""Where things stand in the repository."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
GRIDS = REPOSITORY / "experiments" / "grids"
CLAIMS = REPOSITORY / "experiments" / "claims"
PUBLISHED_CLAIMS = CLAIMS / "published"
RESULTS = Path(os.environ.get("RESNORM_RESULTS", REPOSITORY / "results"))
"""Run folders and tables; $RESNORM_RESULTS puts them elsewhere."""


def runs_folder(results: Path, grid: str, corpus: str) -> Path:
    """Return the folder of a grid's run folders: ``results/runs/<grid>/<corpus>``."""
    return results / "runs" / grid / corpus


def tables_folder(results: Path, grid: str, corpus: str) -> Path:
    """Return the folder of a grid's published tables, which are committed: ``results/<grid>/<corpus>``."""
    return results / grid / corpus


def own_tables_folder(results: Path, grid: str, corpus: str) -> Path:
    """Return the folder of the tables that a person's own command writes: ``results/local/<grid>/<corpus>``."""
    return results / "local" / grid / corpus


def verdicts_folder(results: Path) -> Path:
    """Return the folder of the verdicts that a person's own command writes: ``results/local/verdicts``."""
    return results / "local" / "verdicts"
