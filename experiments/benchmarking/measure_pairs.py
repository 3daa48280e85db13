"""Measure one side against another in interleaved pairs, then workers; print as they come, and write the result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from jsonargparse import Namespace
from rich.console import Console

from experiments.benchmarking.pairs import Pair, interleaved
from experiments.benchmarking.sides import named_side
from experiments.benchmarking.task import Task
from experiments.benchmarking.workers import Rates, measure_workers
from experiments.benchmarking.writing import Benchmark, machine, sentences, sides_table, write
from experiments.errors import ExperimentError
from experiments.planning.run_config import RunConfig
from experiments.reporting.console import printed
from experiments.runs.training import prepare_process


def measure_two_sides(
    config: RunConfig, names: tuple[str, str], options: Namespace, folder: Path, console: Console
) -> None:
    """Measure pairs and workers, print them as they come, and write the result."""
    about = machine()
    console.print(f"{about['cpu']}, {about['cores']} cores, load average {about['load_average']}", highlight=False)
    steps, pairs = measure_pairs(config, names, options.pairs, console)
    rates = measure_rates(replace(config, threads=1), options, console)
    benchmark = Benchmark(names=names, config=config, steps=steps, pairs=pairs, rates=rates, machine=about)
    console.print(printed(sides_table(benchmark)))
    for sentence in sentences(benchmark):
        console.print(f"• {sentence}", markup=False, highlight=False, soft_wrap=True)
    for path in write(benchmark, folder):
        console.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)


def measure_pairs(config: RunConfig, names: tuple[str, str], pairs: int, console: Console) -> tuple[int, list[Pair]]:
    """Return the steps of a measurement and the pairs.

    Raises:
        ExperimentError: where a side is not known, or the sides train on different amounts of text.
    """
    sides = {name: named_side(name) for name in names}
    prepare_process(config.threads)
    task = Task(config)
    with console.status("preparing the corpus"):
        steps = task.data.facts.steps_per_epoch
    measured = []
    for pair in interleaved(names, lambda name: sides[name](task), pairs):
        if pair.tokens[0] != pair.tokens[1]:
            raise ExperimentError(
                f"the sides trained on {pair.tokens[0]} and {pair.tokens[1]} tokens: not the same work"
            )
        measured.append(pair)
        console.print(
            f"pair {pair.number} of {pairs}: {names[0]} {pair.seconds[0]:.2f} s, {names[1]} {pair.seconds[1]:.2f} s, "
            f"ratio {pair.ratio:.3f}",
            highlight=False,
        )
    return steps, measured


def measure_rates(config: RunConfig, options: Namespace, console: Console) -> list[Rates]:
    """Return the workers' rounds; none where they are left out or there is one worker only."""
    if options.workers < 2:
        return []
    measured = []
    for rates in measure_workers(config, options.workers, options.worker_rounds, options.runs_each):
        measured.append(rates)
        console.print(
            f"round {rates.round} of {options.worker_rounds}: one worker {rates.alone:.0f} runs per hour, "
            f"{rates.workers} workers {rates.together:.0f}, ratio {rates.ratio:.2f}",
            highlight=False,
        )
    return measured
