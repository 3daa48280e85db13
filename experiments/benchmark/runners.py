"""How many runs an hour the same runs make: by our grid runner, as scripts one after another, and by the engine ray."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
from jsonargparse import Namespace
from rich.console import Console

from experiments.benchmark.measure import Rows, announced_machine
from experiments.benchmark.rounds import measured_rounds
from experiments.benchmark.table import measurement, setting_of
from experiments.errors import ExperimentError
from experiments.paths import REPOSITORY
from experiments.planning.run_config import RunConfig
from experiments.planning.yaml_files import write_yaml
from experiments.runs.run_folder import RECORD_FILE
from experiments.runs.timings import TIMING_FILE
from experiments.tasks import task_named

GRID, SCRIPTS, RAY = "grid", "scripts", "ray"
LOOK_SECONDS = 0.05
"""Between two looks for results."""


@dataclass(frozen=True)
class Made:
    """What one way took for all runs."""

    first: float
    """Seconds from the command to the first result."""
    last: float
    """Seconds from the command to the last result."""
    idle: float
    """Share of the workers' seconds until then in which they made no run: starts, waiting, bookkeeping."""
    scores: Mapping[int, Any]
    """Scores by seed, which tell whether all ways made the same runs."""


def measure_runners(config: RunConfig, options: Namespace, console: Console) -> Rows:
    """Make the same runs in every way that is installed, round by round.

    Raises:
        ExperimentError: if a command fails, or two ways end with different scores.
    """
    about = announced_machine(config, console)
    names = [GRID, SCRIPTS, RAY]
    if find_spec("ray") is None:
        console.print("left out: ray; pip install -r requirements-cluster.txt to measure it", highlight=False)
        names.remove(RAY)
    config = config.with_values({"data.stage": "final"})
    with console.status("preparing the corpus"):
        task_named(config.task).load("data").from_config(config.data).prepare_data()
    workers, rows = options.workers, []
    make = partial(made_by, config=config, runs=options.runs, workers=workers)
    for each in measured_rounds(names, make, options.worker_rounds, warm_up=()):
        refuse_other_scores(each.measured)
        for name, made in each.measured.items():
            processes = 1 if name == SCRIPTS else workers
            setting = setting_of(config, f"runners+task={config.task}", processes=str(processes)) | about
            rows.append(
                measurement(
                    *("runner", name, name, setting),
                    round=each.number,
                    seconds=made.last,
                    runs_per_hour=3600 * options.runs / made.last,
                    first_seconds=made.first,
                    idle_share=made.idle,
                )
            )
        told = ", ".join(f"{name} {3600 * options.runs / each.measured[name].last:.0f}" for name in names)
        console.print(f"round {each.number} of {options.worker_rounds}, runs per hour: {told}", highlight=False)
    return rows


def made_by(name: str, config: RunConfig, runs: int, workers: int) -> Made:
    """Make ``runs`` runs that differ in their seeds, by commands as a person types them.

    Raises:
        ExperimentError: if a command fails; with the last line that it printed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder, results = Path(scratch), Path(scratch) / "results"
        commands = commands_of(name, config, runs, workers, folder, results)
        arrivals: list[float] = []
        started = time.perf_counter()
        for command in commands:
            for _ in looks_until_done(command, folder):
                found = sum(1 for _ in results.rglob(RECORD_FILE)) if results.exists() else 0
                arrivals += [time.perf_counter() - started] * (found - len(arrivals))
        folders = sorted(path.parent for path in results.rglob(RECORD_FILE))
        if len(folders) != runs:
            raise ExperimentError(f"{name} left {len(folders)} of {runs} runs")
        busy = sum(float(pd.read_csv(each / TIMING_FILE)["seconds"].iloc[0]) for each in folders)
        records = [json.loads((each / RECORD_FILE).read_text(encoding="utf-8")) for each in folders]
    idle = 1 - busy / ((1 if name == SCRIPTS else workers) * arrivals[-1])
    return Made(arrivals[0], arrivals[-1], idle, {record["seed"]: record["scores"] for record in records})


def commands_of(
    name: str, config: RunConfig, runs: int, workers: int, folder: Path, results: Path
) -> Iterator[list[str]]:
    """Yield the commands that make the runs in one way, after writing to ``folder`` what they read."""
    python = [sys.executable, "-m"]
    if name == SCRIPTS:
        for seed in range(runs):
            path = folder / f"seed_{seed}.yaml"
            write_yaml(path, config.with_seed(seed).as_dict())
            yield [*python, "experiments.train", "fit", "--config", str(path), "--results", str(results)]
        return
    path = folder / "runners.yaml"
    write_yaml(path, grid_of(config, runs))
    command = [*python, "experiments.ablation", "run", str(path), "--results", str(results), "--workers", str(workers)]
    yield [*command, *(("--engine", "ray") if name == RAY else ())]


def grid_of(config: RunConfig, runs: int) -> dict[str, Any]:
    """Return a grid of one condition with this configuration and as many seeds as runs."""
    sections = config.as_dict()
    del sections["seed_everything"], sections["probes"]
    variant = sections["model"].pop("variant")
    del sections["data"]["stage"]
    return {
        "title": "Runs of the benchmark",
        "purpose": "Times runners; its numbers mean nothing.",
        "conditions": [variant],
        "seeds": runs,
        **sections,
    }


def looks_until_done(command: list[str], folder: Path) -> Iterator[None]:
    """Start a command and yield every moment until it has ended, and once after.

    Raises:
        ExperimentError: if it fails; with the last line that it printed.
    """
    log = folder / "log.txt"
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=file, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                yield
                time.sleep(LOOK_SECONDS)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    yield
    if process.returncode:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["it printed nothing"]
        raise ExperimentError(f"{' '.join(command[2:5])} ended with status {process.returncode}: {lines[-1]}")


def refuse_other_scores(made: Mapping[str, Made]) -> None:
    """Refuse ways that did not make the same runs.

    Raises:
        ExperimentError: naming two whose scores differ.
    """
    (first, reference), *others = made.items()
    for name, other in others:
        if other.scores != reference.scores:
            raise ExperimentError(f"{first} and {name} ended with different scores: not the same runs")
