"""Measure how cost grows along each axis, print as it comes, and write one page."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from jsonargparse import Namespace
from rich.console import Console

from experiments.benchmarking.generated_task import GeneratedTask
from experiments.benchmarking.growth import AXES, LENGTH, Axis, measured
from experiments.benchmarking.growth_page import growth_grid, sentence, write
from experiments.benchmarking.own_sides import train_with_lightning
from experiments.benchmarking.workers import runs_of, runs_per_hour
from experiments.benchmarking.writing import machine
from experiments.errors import ExperimentError
from experiments.making.messages import Failed, Finished
from experiments.making.pool import default_workers, make_runs
from experiments.planning.names import reject_unknown
from experiments.planning.run_config import RunConfig
from experiments.reporting.console import printed
from experiments.runs.training import prepare_process


def measure_growth(config: RunConfig, options: Namespace, folder: Path, console: Console) -> None:
    """Measure the axes asked for; print and write the table.

    Raises:
        ExperimentError: for an unknown axis.
    """
    names = list(options.growth or AXES)
    for name in names:
        reject_unknown("axis of growth", name, AXES)
    about = machine()
    console.print(f"{about['cpu']}, {about['cores']} cores, load average {about['load_average']}", highlight=False)
    prepare_process(config.threads)
    found = []
    for axis in (fitting(AXES[name]) for name in names):
        if len(axis.values) < 2:
            console.print(f"{axis.name}: left out, this machine has one core", highlight=False)
            continue
        found.append(measured(axis, measure_of(axis, config, options), options.rounds))
        console.print(f"{axis.name}: {sentence(found[-1])}", highlight=False, soft_wrap=True)
    console.print(printed(growth_grid(found)))
    for path in write(found, config, options, about, folder):
        console.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)


def fitting(axis: Axis) -> Axis:
    """Return an axis without more workers than there are cores, up to all of them."""
    if axis.name != "workers":
        return axis
    cores = default_workers()
    return replace(axis, values=tuple(sorted({1, *(2**power for power in range(1, 7) if 2**power < cores), cores})))


def measure_of(axis: Axis, config: RunConfig, options: Namespace) -> Callable[[int], float]:
    """Return what measures the seconds of one size along an axis."""
    match axis.name:
        case "seeds":
            return lambda count: seconds_of_runs(config, count)
        case "workers":
            return lambda count: 3600 / runs_per_hour(config, count, options.runs_each)
    return lambda value: train_with_lightning(task_of(axis, value, config, options.steps)).seconds


def task_of(axis: Axis, value: int, config: RunConfig, steps: int) -> GeneratedTask:
    """Return the task whose size along an axis is ``value`` and which is otherwise as configured."""
    sizes = {"data.max_length": LENGTH}
    match axis.name:
        case "depth":
            sizes["model.layers"] = value
        case "width":
            sizes["model.width"] = value
        case "length":
            sizes["data.max_length"] = value
        case "rows":
            steps = value // config.data.batch_size
    return GeneratedTask(config.with_values(dict(sizes)), steps)


def seconds_of_runs(config: RunConfig, count: int) -> float:
    """Return the seconds that one worker takes for so many runs after a first one, which pays for imports.

    Raises:
        ExperimentError: where a run fails.
    """
    finished: list[float] = []
    with tempfile.TemporaryDirectory() as results:
        for event in make_runs(runs_of(config, 1 + count), Path(results), 1):
            if isinstance(event.message, Failed):
                raise ExperimentError(f"a run of the benchmark failed: {event.message.reason}")
            if isinstance(event.message, Finished):
                finished.append(time.perf_counter())
    return finished[-1] - finished[0]
