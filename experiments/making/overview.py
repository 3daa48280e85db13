"""What a grid would do, before it does it: every run with its size, and the time and disk that all take together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from experiments.making.display import duration
from experiments.making.pricing import PriceList
from experiments.planning.expansion import final_runs, tune_runs
from experiments.planning.grid import Grid
from experiments.planning.runs import Run
from experiments.runs.files import RECORD_FILE
from experiments.runs.finished import FinishedRuns


def print_plan(grid: Grid, results: Path, workers: int, console: Console) -> None:
    """Print every run of the grid, then what all of them take together, finished ones included."""
    runs, prices = planned_runs(grid, results), PriceList()
    table = Table("run", "stage", "parameters", "norms", "skips", "time", "disk", box=None)
    with console.status(f"preparing the corpus {grid.corpus} and measuring a step"):
        for run in runs:
            price = prices.of(run)
            counts = price.counts
            numbers = (f"{counts.parameters:,}", f"{counts.norms}", f"{counts.skips}")
            sizes = ("", "", "") if run.baseline else numbers
            name = run.name + (" (values chosen by tuning)" if run.pending else "")
            table.add_row(name, run.stage, *sizes, duration(price.seconds), f"{price.bytes / 2**20:.1f} MiB")
    console.print(table, soft_wrap=True)
    disk = sum(prices.of(run).bytes for run in runs) / 2**20
    console.print(f"{spoken_price(runs, prices, workers)}, {disk:.0f} MiB of disk", highlight=False)


def print_price(grid: Grid, results: Path, workers: int, console: Console) -> None:
    """Print what the runs that are still to be made take, before the first one starts."""
    missing = [run for run in planned_runs(grid, results) if not (run.folder(results) / RECORD_FILE).exists()]
    if missing:
        with console.status("measuring a step"):
            price = spoken_price(missing, PriceList(), workers)
        console.print(f"to be made: {price}", highlight=False)


def planned_runs(grid: Grid, results: Path) -> list[Run]:
    """Return every run of the grid as far as its records tell, trials first."""
    made = FinishedRuns(grid, results).records()
    return [*tune_runs(grid, made), *final_runs(grid, made)]


def spoken_price(runs: Sequence[Run], prices: PriceList, workers: int) -> str:
    """Return the price of some runs in words; trials that may not come to pass are part of it."""
    seconds = sum(prices.of(run).seconds for run in runs)
    later = sum(run.pending and run.stage == "tune" for run in runs)
    most = f", {later} of them only if tuning asks for them" if later else ""
    return (
        f"{len(runs)} runs{most}: {seconds / 3600:.2g} CPU-hours by a step measured here, "
        f"about {duration(seconds / workers)} with {workers} worker{'s' * (workers > 1)}"
    )
