"""An answer for one corpus: measure a step, plan what the given time allows, print the plan, run it, write one page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from rich.console import Console

from data_modules.labelled_text import TextDataModule
from experiments.errors import ExperimentError
from experiments.making.affordable import (
    RICHEST,
    AffordablePlan,
    Effort,
    affordable_plan,
    grid_content,
    seconds_of,
    too_small,
    wanted_steps,
)
from experiments.making.display import duration
from experiments.making.engines import Engine
from experiments.making.grid_runner import run_grid
from experiments.making.pricing import PriceList
from experiments.paths import runs_folder
from experiments.planning.expansion import final_runs, tune_runs
from experiments.planning.grid import Grid, label
from experiments.planning.yaml_files import write_yaml
from experiments.reporting.answer import write_answer
from experiments.reporting.grid_report import describe, gathered
from experiments.runs.precision import choose_precision
from experiments.runs.run_folder import write_atomically

REPORTING_SECONDS = 20.0
"""Seconds kept back for tables and the page."""


def answer(
    budget: str,
    overrides: Mapping[str, Any],
    results: Path,
    engine: Engine,
    workers: int,
    console: Console,
    *,
    everything: bool = False,
) -> Path:
    """Answer which block suits a corpus, within a time, and return the page.

    The plan is kept in the folder of runs. The same command goes on with it, however often it is interrupted.

    Args:
        budget: a time such as ``30m``.
        overrides: the corpus and settings of all runs, as the command line gives them.
        results: folder of run folders and tables.
        engine: makes the runs.
        workers: how many at the same time.
        console: where the plan is said.
        everything: whether every figure is drawn too.

    Raises:
        ExperimentError: the budget or the corpus is too small; the message says what would be enough.
        DataError: the corpus cannot be read.
    """
    seconds = seconds_of(budget)
    path = plan_path(budget, overrides, results)
    if path.exists():
        console.print(f"going on with the plan of {path}", markup=False, highlight=False, soft_wrap=True)
    else:
        make_plan(path, max(0.0, seconds - REPORTING_SECONDS) * workers, overrides, console)
    grid = Grid.load(str(path), overrides)
    with engine:
        failed = run_grid(grid, results, engine, console)
    evidence = gathered(grid, results, console)
    page = write_answer(evidence, grid, describe(grid), results, everything=everything)
    if failed:
        console.print(f"{len(failed)} run(s) failed, the first of them {failed[0]}", markup=False, soft_wrap=True)
    console.print(f"the answer: {page}", markup=False, highlight=False, soft_wrap=True)
    return page


def plan_path(budget: str, overrides: Mapping[str, Any], results: Path) -> Path:
    """Return the file of the plan: the grid ``answer_<budget>``, in the folder of its runs."""
    from data_modules.config import DataConfig
    from experiments.planning.parser import validated_sections

    name = f"answer_{budget.strip()}"
    data: DataConfig = validated_sections({"data": dict(overrides.get("data", {}))})["data"]
    return runs_folder(results, name + label(overrides), data.slug) / f"{name}.yaml"


def make_plan(path: Path, seconds: float, overrides: Mapping[str, Any], console: Console) -> None:
    """Measure a step on the corpus, choose what fits into ``seconds`` of all workers, say it and write it."""
    with console.status("reading the corpus and measuring a step"), TemporaryDirectory() as folder:
        chosen, content = chosen_plan(Path(folder) / path.name, seconds, overrides)
    for line in spoken_plan(chosen):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, yaml.safe_dump(content, sort_keys=False).encode())


def chosen_plan(draft: Path, seconds: float, overrides: Mapping[str, Any]) -> tuple[AffordablePlan, dict[str, Any]]:
    """Return the plan that fits and its grid file; ``draft`` is where grids are written to be priced."""
    prices = PriceList()

    def load(content: dict[str, Any]) -> Grid:
        write_yaml(draft, content)
        return Grid.load(str(draft), overrides)

    first = load(grid_content(RICHEST, wanted_steps(1), 1, "32-true")).conditions[0].config
    data: TextDataModule = prices.text_of(first)
    rows = {name: len(split) for name, split in data.corpus.splits.items()}
    reason = too_small(rows, len(data.corpus.class_names))
    if reason:
        raise ExperimentError(reason)
    precision = overrides.get("trainer", {}).get("precision") or choose_precision(first).value
    per_epoch = data.facts.steps_per_epoch

    def priced(level: Effort, steps: int) -> float:
        grid = load(grid_content(level, steps, per_epoch, precision))
        return sum(prices.of(run).seconds for run in (*tune_runs(grid), *final_runs(grid)))

    chosen = affordable_plan(seconds, wanted_steps(per_epoch), priced)
    return chosen, grid_content(chosen.level, chosen.steps, per_epoch, precision)


def spoken_plan(chosen: AffordablePlan) -> list[str]:
    """Return what the plan does and what it costs, as lines for the terminal."""
    level = chosen.level
    budgets = " and ".join(f"{steps:,}" for steps in chosen.budgets)
    return [
        f"plan: {', '.join(level.blocks)} at {budgets} steps, {level.seeds} seeds; {len(level.rates)} rates and "
        f"{len(level.starts)} start{'s' * (len(level.starts) > 1)} of the embeddings tried for each",
        f"price: at most {duration(chosen.seconds)} of one core, by a step measured here",
        *([f"left out for want of time: {level.lost}"] if level.lost else []),
    ]
