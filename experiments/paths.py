"""Where things are in the repository."""

from __future__ import annotations

import os
import re
from pathlib import Path

from experiments.errors import ExperimentError

REPOSITORY = Path(__file__).resolve().parent.parent
GRIDS = REPOSITORY / "experiments" / "grids"
CLAIMS = REPOSITORY / "experiments" / "claims"
PUBLISHED_CLAIMS = CLAIMS / "published"
RESULTS = Path(os.environ.get("RESNORM_RESULTS", REPOSITORY / "results"))
"""Folder of run folders and tables; $RESNORM_RESULTS puts it elsewhere."""


NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=,~-]{0,149}")
RESERVED = frozenset(
    {
        "runs",
        "local",
        "history",
        "figures",
        "verdicts",
        "benchmark",
        "reproductions",
        "padding_leak",
        "removed_blocks",
        "studies",
        "zoo_stability",
        "ranking",
    }
)
"""Folders of `results` that are no grid's."""


def checked_name(what: str, name: str) -> str:
    """Return the name of a grid, which names folders below `results`.

    Raises:
        ExperimentError: it is not a plain name of a folder, or another folder has it; ``what`` says whose name it is.
    """
    if not NAME.fullmatch(name):
        raise ExperimentError(
            f"{what} {name[:60]!r} cannot name a folder; begin with a letter or digit, and use at most 150 letters, "
            "digits and . _ + = , ~ -"
        )
    if name.lower() in RESERVED:
        raise ExperimentError(f"{what} {name!r} is taken by a folder of results that is no grid's; choose another")
    return name


def below(root: Path, *parts: str) -> Path:
    """Return a place below a folder that a person named, after checking that no link leads out of it.

    The root may be a link, or lie behind one: a person chose it. A link below it may come with a clone or an archive,
    and what is written or removed there would be somebody else's.

    Raises:
        ExperimentError: a part of the way is a link.
    """
    place = root
    for part in parts:
        place = place / part
        if place.is_symlink():
            raise ExperimentError(f"{place} is a link, and nothing is read, written or removed behind it; remove it")
    return place


def runs_folder(results: Path, grid: str, corpus: str) -> Path:
    """Return the folder of a grid's run folders: ``results/runs/<grid>/<corpus>``."""
    return below(results, "runs", grid, corpus)


def tables_folder(results: Path, grid: str, corpus: str) -> Path:
    """Return the folder of a grid's published tables, which are committed: ``results/<grid>/<corpus>``."""
    return below(results, grid, corpus)


def own_tables_folder(results: Path, grid: str, corpus: str) -> Path:
    """Return the folder of the tables that a person's own command writes: ``results/local/<grid>/<corpus>``."""
    return below(results, "local", grid, corpus)


def new_folder(name: str) -> Path:
    """Return a folder that a person named and that a command is to make.

    Raises:
        ExperimentError: it is there already, or is a link.
    """
    path = Path(name).expanduser()
    if path.is_symlink():
        raise ExperimentError(f"{name} is a link, and nothing is written through it; name a new folder")
    if path.exists():
        raise ExperimentError(f"{name} is there already; name a new folder, or remove it")
    return path
