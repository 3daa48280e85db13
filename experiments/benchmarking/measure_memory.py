"""Measure the memory of preparing and training for growing numbers of rows; print as it comes, and write a table."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from experiments.benchmarking.row_memory import EVALUATION_ROWS, RowMemory, measure_rows
from experiments.benchmarking.writing import machine, where
from experiments.reporting.console import printed
from experiments.reporting.render import Grid, to_csv, to_markdown
from experiments.runs.files import write_atomically

COLUMNS = ["rows", "part", "resident_mib", "anonymous_mib", "seconds"]


def measure_memory(numbers: Sequence[int], folder: Path, console: Console) -> None:
    """Measure every number of rows, print and write ``row_memory.csv`` and ``.md``.

    Raises:
        ExperimentError: where the system does not tell a process's memory.
    """
    about = machine()
    measured = []
    for rows in numbers:
        with console.status(f"preparing and training on {rows:,} rows"), tempfile.TemporaryDirectory() as scratch:
            measured.append(measure_rows(rows, Path(scratch)))
    grid = memory_grid(measured)
    console.print(printed(grid))
    contents = {"row_memory.csv": to_csv(grid), "row_memory.md": page(grid, about)}
    for name, content in contents.items():
        write_atomically(folder / name, content.encode())
        console.print(f"wrote {folder / name}", markup=False, highlight=False, soft_wrap=True)


def memory_grid(measured: Sequence[RowMemory]) -> Grid:
    """Return two rows for each number of rows: preparing and training."""
    rows = [
        [str(each.rows), part, f"{peak.resident:.0f}", f"{peak.anonymous:.0f}", f"{peak.seconds:.0f}"]
        for each in measured
        for part, peak in (("preparing", each.preparing), ("training", each.training))
    ]
    return Grid(COLUMNS, rows)


def page(grid: Grid, about: Mapping[str, str]) -> str:
    """Return the result as Markdown."""
    setting = (
        "`resident_mib` is the peak of all resident memory (`VmHWM`), `anonymous_mib` the peak without pages of "
        "mapped files (`RssAnon`), in MiB, interpreter and libraries included. Preparing reads a Parquet file, cleans "
        "it, removes duplicates and near duplicates and tokenises; training is one epoch of a tiny network with "
        f"validation, scores and record, from the filled cache. Beside the training rows {EVALUATION_ROWS:,} are for "
        "validation and as many for the test."
    )
    return "\n\n".join(["# Memory as rows grow", to_markdown(grid).rstrip(), setting, where(about)]) + "\n"
