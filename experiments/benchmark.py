"""Measure what Lightning costs, and what parallel workers bring: ``python -m experiments.benchmark``.

The same model is trained on the same batches through Lightning, with everything that a run records, and by a plain
PyTorch loop, in interleaved pairs. Then whole runs are made by one worker and by several. Pairs and medians go to
``results/benchmark``. Leave the machine alone meanwhile: other work widens the interval.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace
from rich.console import Console
from rich.table import Table

from data_modules.config import DataConfig
from experiments.errors import ExperimentError, readable_errors
from experiments.paths import RESULTS
from experiments.planning.parser import StrictParser
from experiments.planning.run_config import RunConfig, TrainerConfig
from lightning_modules.config import ModelConfig

if TYPE_CHECKING:
    from experiments.benchmarking.pairs import Pair
    from experiments.benchmarking.workers import Rates

MINIMA = {"pairs": 1, "steps": 2, "workers": 0, "rounds": 1, "runs_each": 1}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write; mistakes end with one line and status 2."""
    parsed = parse(sys.argv[1:] if arguments is None else arguments)
    with readable_errors():
        for name, least in MINIMA.items():
            if parsed[name] < least:
                raise ExperimentError(f"--{name} is {parsed[name]}; it must be at least {least}")
        if parsed.side == parsed.against:
            raise ExperimentError(f"--side and --against are both {parsed.side!r}; name two different sides")
        run(configuration(parsed.steps), parsed, Console())


def parse(arguments: Sequence[str]) -> Namespace:
    """Return the options of the command line."""
    parser = StrictParser(prog="python -m experiments.benchmark", description=__doc__)
    parser.add_argument("--side", type=str, default="lightning", help="side in question")
    parser.add_argument("--against", type=str, default="plain", help="side it is measured against")
    parser.add_argument("--pairs", type=int, default=10, help="interleaved pairs of measurements")
    parser.add_argument("--steps", type=int, default=80, help="optimiser steps of a measurement")
    parser.add_argument("--workers", type=int, default=2, help="workers to compare with one; 0 leaves this out")
    parser.add_argument("--rounds", type=int, default=3, help="times that one worker and several are compared")
    parser.add_argument("--runs_each", type=int, default=2, help="runs that count per worker and round")
    parser.add_argument("--results", type=str, default=str(RESULTS), help="folder of results")
    return parser.parse_args(list(arguments))


def configuration(steps: int) -> RunConfig:
    """Return the task: one epoch of so many steps, at the size of the grids, on one thread."""
    data = DataConfig(corpus="docstrings")
    return RunConfig(
        model=ModelConfig(variant="pre_ln", layers=6, width=64),
        data=DataConfig(corpus=data.corpus, max_train_rows=steps * data.batch_size),
        trainer=TrainerConfig(max_epochs=1, accelerator="cpu"),
    )


def run(config: RunConfig, options: Namespace, console: Console) -> None:
    """Measure pairs and workers, print them as they come, and write the result."""
    from experiments.benchmarking.writing import Benchmark, machine, sentences, sides_table, write

    about = machine()
    names = (options.side, options.against)
    console.print(f"{about['cpu']}, {about['cores']} cores, load average {about['load_average']}", highlight=False)
    steps, pairs = measure_pairs(config, names, options.pairs, console)
    rates = measure_rates(config, options, console)
    benchmark = Benchmark(names=names, config=config, steps=steps, pairs=pairs, rates=rates, machine=about)
    medians = sides_table(benchmark)
    table = Table(*medians.columns, box=None)
    for row in medians.rows:
        table.add_row(*row)
    console.print(table)
    for sentence in sentences(benchmark):
        console.print(f"• {sentence}", markup=False, highlight=False, soft_wrap=True)
    for path in write(benchmark, Path(options.results) / "benchmark"):
        console.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)


def measure_pairs(config: RunConfig, names: tuple[str, str], pairs: int, console: Console) -> tuple[int, list[Pair]]:
    """Return the steps of a measurement and the pairs.

    Raises:
        ExperimentError: where a side is not known.
    """
    from experiments.benchmarking.pairs import interleaved
    from experiments.benchmarking.sides import named_side
    from experiments.benchmarking.task import Task
    from experiments.running.training import prepare_process

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
    from experiments.benchmarking.workers import measure_workers

    if options.workers < 2:
        return []
    measured = []
    for rates in measure_workers(config, options.workers, options.rounds, options.runs_each):
        measured.append(rates)
        console.print(
            f"round {rates.round} of {options.rounds}: one worker {rates.alone:.0f} runs per hour, "
            f"{rates.workers} workers {rates.together:.0f}, ratio {rates.ratio:.2f}",
            highlight=False,
        )
    return measured


if __name__ == "__main__":
    main()
