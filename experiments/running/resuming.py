"""Going on from a checkpoint: only from one that is whole and of the same model, and without losing earlier curves."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from experiments.errors import ExperimentError
from experiments.running.training import BEST, LAST

CURVES_FILE = "metrics.csv"
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


def earlier_curves(folder: Path, step: int) -> list[dict[str, str]]:
    """Return the rows of ``metrics.csv`` before an optimiser step; Lightning deletes the file when it starts."""
    path = folder / CURVES_FILE
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row.get("step") and int(row["step"]) < step]


def prepend_curves(folder: Path, rows: list[dict[str, str]]) -> None:
    """Put earlier rows before those that training wrote to ``metrics.csv`` since it went on."""
    path = folder / CURVES_FILE
    if not rows:
        return
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            rows = [*rows, *csv.DictReader(file)]
    names = sorted({name for row in rows for name in row})
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows)
