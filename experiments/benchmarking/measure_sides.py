"""Measure all sides round by round, print as they come, and write one table."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace
from rich.console import Console

from experiments.benchmarking.comparison import WORKERS, Comparison
from experiments.benchmarking.comparison_page import notes, sides_grid, write
from experiments.benchmarking.machine_rate import SIZE, matrix_product_rates
from experiments.benchmarking.memory import peak_memory_of
from experiments.benchmarking.packages import REQUIREMENTS, is_available, require_package
from experiments.benchmarking.rounds import Round, measured_rounds
from experiments.benchmarking.settings import write_settings
from experiments.benchmarking.sides import SIDES, named_side
from experiments.benchmarking.task import Task
from experiments.benchmarking.writing import PACKAGES, PEER_PACKAGES, machine
from experiments.errors import ExperimentError
from experiments.planning.run_config import RunConfig
from experiments.reporting.console import printed
from experiments.runs.training import prepare_process


def measure_sides(config: RunConfig, options: Namespace, folder: Path, console: Console) -> None:
    """Measure every side round by round, then its memory; print and write the table, and the overview of settings."""
    names = chosen_sides(options.sides, config.threads, console)
    about = machine((*PACKAGES, *PEER_PACKAGES))
    console.print(f"{about['cpu']}, {about['cores']} cores, load average {about['load_average']}", highlight=False)
    prepare_process(config.threads)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    task = Task(config)
    with console.status("preparing the corpus"):
        flops_per_token = task.flops_per_token()
    rounds = measure_rounds(task, names, options.rounds, console)
    peaks = {}
    for name in [name for name in names if options.memory and name != WORKERS]:
        with console.status(f"measuring the memory of {name}"):
            peaks[name] = peak_memory_of(name, config)
    comparison = Comparison(names, config, rounds, flops_per_token, peaks, SIZE, about)
    console.print(printed(sides_grid(comparison)))
    for note in notes(comparison):
        console.print(f"• {note}", markup=False, highlight=False, soft_wrap=True)
    written = write(comparison, folder)
    for path in (*written, *write_settings(folder)):
        console.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)


def chosen_sides(given: Sequence[str] | None, threads: int, console: Console) -> list[str]:
    """Return the sides to measure: those given, or all whose package is installed.

    With one thread ``workers`` would be ``lightning`` again, and is left out unless it is asked for.

    Raises:
        ExperimentError: where a given side is unknown, named twice or lacks its package.
    """
    if given is None:
        absent = [name for name in SIDES if not is_available(name)]
        if absent:
            console.print(f"left out: {', '.join(absent)}; pip install -r {REQUIREMENTS} to measure them")
        return [name for name in SIDES if name not in absent and (name != WORKERS or threads > 1)]
    if not given:
        raise ExperimentError(f"--sides is empty; name some of: {', '.join(SIDES)}")
    for name in given:
        named_side(name)
        require_package(name)
        if given.count(name) > 1:
            raise ExperimentError(f"--sides names {name} {given.count(name)} times")
    return list(given)


def measure_rounds(task: Task, names: Sequence[str], rounds: int, console: Console) -> list[Round]:
    """Return the rounds, printed as they come.

    Raises:
        ExperimentError: where sides trained on different amounts of text.
    """
    measured = []
    for each in measured_rounds(names, lambda name: SIDES[name](task), matrix_product_rates, rounds):
        tokens = {name: timing.tokens // timing.copies for name, timing in each.timings.items()}
        if len(set(tokens.values())) > 1:
            amounts = ", ".join(f"{name} on {count}" for name, count in tokens.items())
            raise ExperimentError(f"the sides trained on different numbers of tokens, {amounts}: not the same work")
        measured.append(each)
        speeds = ", ".join(f"{name} {each.timings[name].tokens_per_second:.0f}" for name in names)
        console.print(f"round {each.number} of {rounds}, real tokens/s: {speeds}", highlight=False, soft_wrap=True)
    return measured
