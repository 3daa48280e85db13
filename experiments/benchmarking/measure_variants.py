"""Measure one training step of several variants round by round, print as they come, and write one page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from jsonargparse import Namespace
from rich.console import Console

from experiments.benchmarking.own_sides import train_with_lightning
from experiments.benchmarking.rounds import Round, measured_rounds
from experiments.benchmarking.task import Task
from experiments.benchmarking.variants import VariantTimes, chosen_variants
from experiments.benchmarking.variants_page import finding, variants_grid, write
from experiments.benchmarking.writing import machine
from experiments.errors import ExperimentError
from experiments.planning.run_config import RunConfig
from experiments.reporting.console import printed
from experiments.runs.training import prepare_process


def measure_variants(config: RunConfig, options: Namespace, folder: Path, console: Console) -> None:
    """Measure every variant round by round; print and write the table.

    Raises:
        ExperimentError: where a variant is unknown, or one did not train to the end.
    """
    names = chosen_variants(options.variants)
    about = machine()
    console.print(f"{about['cpu']}, {about['cores']} cores, load average {about['load_average']}", highlight=False)
    prepare_process(config.threads)
    tasks = {name: Task(config.with_values({"model.variant": name})) for name in names}
    with console.status("preparing the corpus"):
        for task in tasks.values():
            _ = task.data  # read before the clocks run
    times = VariantTimes(names, config, measure_rounds(tasks, options.rounds, console), about)
    console.print(printed(variants_grid(times)))
    console.print(f"• {finding(times)}", markup=False, highlight=False, soft_wrap=True)
    for path in write(times, folder):
        console.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)


def measure_rounds(tasks: Mapping[str, Task], rounds: int, console: Console) -> list[Round]:
    """Return the rounds, printed as they come.

    Raises:
        ExperimentError: where a variant did not take every step of the task, since its guard stopped it.
    """
    measured = []
    for each in measured_rounds(list(tasks), lambda name: train_with_lightning(tasks[name]), dict, rounds):
        for name, timing in each.timings.items():
            planned = tasks[name].data.facts.steps_per_epoch
            if timing.steps != planned:
                raise ExperimentError(f"{name} diverged after {timing.steps} of {planned} steps: not the same work")
        measured.append(each)
        said = ", ".join(f"{name} {each.milliseconds_per_step(name):.1f}" for name in tasks)
        console.print(f"round {each.number} of {rounds}, ms per step: {said}", highlight=False, soft_wrap=True)
    return measured
