"""Going on from a checkpoint: only from one that is whole and of the same model, and without losing earlier curves."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from experiments.errors import ExperimentError
from experiments.runs.files import write_atomically
from experiments.runs.training import BEST, LAST

CURVES_FILE = "metrics.csv"
EARLIER_FILE = "metrics.earlier.csv"
"""Curves from before a run went on, while it trains."""
NAMED = {"last": LAST, "best": BEST}


def find_checkpoint(given: str, folder: Path) -> Path:
    """Return the checkpoint that ``--ckpt_path`` names; ``last`` and ``best`` are those of the run's own folder.

    Raises:
        ExperimentError: where there is none.
    """
    path = folder / NAMED[given] if given in NAMED else Path(given).expanduser()
    if not path.is_file():
        raise ExperimentError(f"ckpt_path: there is no checkpoint {path}")
    return path


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint of ``experiments.train`` or of a grid.

    Raises:
        ExperimentError: where it is truncated or is no checkpoint of a classifier.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises nearly anything, depending on where a file was cut
        raise ExperimentError(f"{path} is damaged or is no checkpoint ({type(error).__name__})") from error
    if not isinstance(content, dict) or not {"state_dict", "hyper_parameters", "global_step"} <= content.keys():
        raise ExperimentError(f"{path} is no checkpoint of a classifier")
    return content


def refuse_other_model(path: Path, saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse to train on with other settings of the model than those of the checkpoint.

    Raises:
        ExperimentError: naming the first setting that differs.
    """
    for name, value in saved.items():
        if name in wanted and wanted[name] != value:
            raise ExperimentError(
                f"{path} was trained with model.{name} {value}, and this command asks for {wanted[name]}; "
                "to go on, repeat its settings (--config <its folder>/config.yaml)"
            )


def refuse_weights_only(path: Path, content: Mapping[str, Any]) -> None:
    """Refuse to train on from weights without the optimiser's state.

    Raises:
        ExperimentError: for such a checkpoint.
    """
    if not content.get("optimizer_states"):
        raise ExperimentError(f"{path} holds weights only; training goes on from {LAST}")


def is_inside(path: str | Path, folder: Path) -> bool:
    """Tell whether a file stands in a folder itself."""
    return Path(path).resolve().parent == folder.resolve()


def set_curves_aside(folder: Path, step: int) -> None:
    """Keep the rows of ``metrics.csv`` before an optimiser step in a file of their own; Lightning deletes it."""
    rows = [row for row in joined_curves(folder) if row.get("step") and int(row["step"]) < step]
    write_curves(folder / EARLIER_FILE, rows)


def prepend_curves(folder: Path) -> None:
    """Put the rows that were set aside before those that training wrote to ``metrics.csv`` since it went on."""
    if (folder / EARLIER_FILE).is_file():
        write_curves(folder / CURVES_FILE, joined_curves(folder))
        (folder / EARLIER_FILE).unlink()


def joined_curves(folder: Path) -> list[dict[str, str]]:
    """Return what was set aside and then the present curves, each row once, however an earlier process was ended."""
    rows: dict[frozenset[tuple[str, str]], dict[str, str]] = {}
    for name in (EARLIER_FILE, CURVES_FILE):
        if (folder / name).is_file():
            with (folder / name).open(newline="", encoding="utf-8") as file:
                rows |= {frozenset(cell for cell in row.items() if cell[1]): row for row in csv.DictReader(file)}
    return list(rows.values())


def write_curves(path: Path, rows: list[dict[str, str]]) -> None:
    """Write rows as CSV with the columns of all of them, whole or not at all."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, sorted({name for row in rows for name in row}), restval="")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())
