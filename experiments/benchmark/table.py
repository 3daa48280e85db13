"""The one table of the benchmark: a row per measurement, raw, with its setting and machine. Free of torch.

A series is what one call measured of one question: all sides at one size, one axis of growth. Measuring it again puts
its rows in place of the old ones.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

from experiments.benchmark.roster import OWN_PLACES
from experiments.errors import ExperimentError
from experiments.planning.run_config import RunConfig
from experiments.reporting.render import number
from experiments.runs.provenance import processor_name, usable_cores
from experiments.runs.run_folder import write_atomically

TABLE_FILE = "benchmark.csv"

DIGITS = {
    "round": 0,
    "seconds": 6,
    "steps": 0,
    "rows": 0,
    "tokens": 0,
    "positions": 0,
    "runs_per_hour": 1,
    "first_seconds": 3,
    "idle_share": 4,
    "peak_memory_mib": 1,
    "anonymous_mib": 1,
    "machine_float32_gflops": 1,
    "machine_bfloat16_gflops": 1,
    "flops_per_token": 0,
}
"""What is measured, each with its decimals.

``rows``, ``tokens`` (real ones) and ``positions`` (with padding) are those trained on. ``first_seconds`` are those
from a command to its first result, ``idle_share`` is the part of its workers' seconds in which they made no run. Memory
is the peak of a process of its own, without pages of mapped files under ``anonymous_mib``. The machine's rates are
those of the product of two square matrices, measured in the same round. ``flops_per_token`` are the operations of our
network's matrix products, forward and backward, per real token; they are taken for every side."""
SETTING = (
    *("series", "task", "variant", "layers", "width", "corpus", "batch_size", "precision", "threads"),
    *("processes", "dropout"),
)
"""What was trained. The size that an axis varies is its ``value``, whatever the setting says."""
MACHINE = ("date", "cpu", "cores", "load_average")
"""Where and when. The load average at the start tells how busy the machine was with other work."""
PACKAGES = ("torch", "lightning", "numpy", "transformers", "accelerate", "x-transformers")
VERSIONS = ("python", *PACKAGES)
COLUMNS = ("axis", "value", "side", *DIGITS, *SETTING, *MACHINE, *VERSIONS)
ADDED = {"first_seconds": "", "idle_share": "", "processes": "1", "dropout": OWN_PLACES}
"""Columns that earlier tables lack, and what holds for their rows."""

MATRIX_SIZE = 1024
"""Side of the square matrices whose product gives the machine's rates: large enough that overhead is no part of it."""
EVALUATION_ROWS = 5_000
"""Rows of validation, and of the test, in a measurement of memory."""


def machine() -> dict[str, str]:
    """Return ``MACHINE`` and ``VERSIONS`` of this machine, empty for a package that is not installed."""
    return {
        "date": date.today().isoformat(),
        "cpu": processor_name(),
        "cores": str(usable_cores()),
        "load_average": f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "",
        "python": platform.python_version(),
        **{package: installed_version(package) for package in PACKAGES},
    }


def installed_version(package: str) -> str:
    """Return a package's version; nothing if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def setting_of(config: RunConfig, series: str, **other: str) -> dict[str, str]:
    """Return what the table says about a configuration; ``other`` replaces single entries."""
    model, data = config.model, config.data
    return {
        "series": series,
        "task": config.task,
        "variant": model.variant,
        "layers": str(model.depth),
        "width": str(model.width),
        "corpus": data.slug,
        "batch_size": str(data.batch_size),
        "precision": config.trainer.precision,
        "threads": str(config.threads),
        "processes": "1",
        "dropout": OWN_PLACES,
        **other,
    }


def measurement(
    axis: str, value: object, side: str, about: Mapping[str, str], **measured: float | None
) -> dict[str, str]:
    """Return one row of the table.

    Args:
        axis: what is varied.
        value: its size or name.
        side: who trained.
        about: setting and machine.
        measured: by column, what was measured.
    """
    numbers = {column: number(measured.pop(column, None), digits) for column, digits in DIGITS.items()}
    assert not measured, f"no such columns: {', '.join(measured)}"
    return {"axis": axis, "value": str(value), "side": side, **numbers, **about}


def write_measurements(folder: Path, rows: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """Put rows in place of those of the same series, leave all others as they are, and return the whole table.

    Raises:
        ExperimentError: if what is there already is no such table.
    """
    path = folder / TABLE_FILE
    new = as_text(rows)
    kept = read_text(path) if path.exists() else new[:0]
    whole = pd.concat([kept[~kept["series"].isin(set(new["series"]))], new], ignore_index=True)
    write_atomically(path, whole.to_csv(index=False, lineterminator="\n").encode())
    return with_numbers(whole)


def as_text(rows: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """Return rows as a table of text."""
    return pd.DataFrame([dict(row) for row in rows], columns=list(COLUMNS), dtype=str)


def as_measurements(rows: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """Return rows as a table, what is measured as numbers."""
    return with_numbers(as_text(rows))


def read_measurements(folder: Path) -> pd.DataFrame:
    """Return the table of a folder, in the order of measurement within each series.

    Raises:
        ExperimentError: if it is no table that the benchmark wrote.
    """
    return with_numbers(read_text(folder / TABLE_FILE))


def read_text(path: Path) -> pd.DataFrame:
    """Return the table as it is in the file, every cell a text.

    Raises:
        ExperimentError: if it is no table that the benchmark wrote.
    """
    try:
        text = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
        text = text.assign(**{name: value for name, value in ADDED.items() if name not in text.columns})
        missing = [column for column in COLUMNS if column not in text.columns]
        if missing:
            raise ValueError(f"it has no column {missing[0]!r}")
        with_numbers(text)
        return text[list(COLUMNS)]
    except ValueError as error:
        raise ExperimentError(f"{path} is not a table of rounds that this benchmark wrote: {error}") from error


def with_numbers(text: pd.DataFrame) -> pd.DataFrame:
    """Return the table with what is measured as numbers, NaN for an empty cell; ``value`` stays text."""
    numbers: dict[str, Any] = {column: pd.to_numeric(text[column].replace("", None)) for column in DIGITS}
    sizes: dict[str, Any] = {
        column: pd.to_numeric(text[column]) for column in ("layers", "width", "threads", "processes")
    }
    return text.assign(**numbers, **sizes)
