"""Compare our training speed with a plain loop and other people's code: ``python -m experiments.benchmark``.

    python -m experiments.benchmark [--sides [lightning,plain,hf_bert]] [--rounds 10]    one table of all sides
    python -m experiments.benchmark --side lightning [--against plain] [--pairs 10]      what one costs over another
    python -m experiments.benchmark --variants [post_ln,pre_ln,plain] [--rounds 10]      a step of each variant
    python -m experiments.benchmark --growth [depth,width,length,rows,seeds,workers]     how cost grows with size
    python -m experiments.benchmark --schemes [] [--rounds 10]      time per token of every scheme over Pre-LN's
    python -m experiments.benchmark --memory_rows [200000,5000000]                       memory as rows grow

Every side trains the same task. For the table, each round measures every side once, in changing order; the sides of
others need ``requirements-benchmark.txt``. Of two sides, interleaved pairs are measured; then whole runs are made by
one worker and by several. Every measurement becomes a row of ``benchmark.csv``, from which ``benchmark.md`` is written;
both go to ``results/local/benchmark``. Leave the machine idle while it measures: other work widens the intervals.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from jsonargparse import Namespace
from rich.console import Console

from data_modules.config import DataConfig
from experiments.errors import ExperimentError, readable_errors
from experiments.paths import RESULTS, below
from experiments.planning.parser import StrictParser
from experiments.planning.run_config import RunConfig, TrainerConfig
from experiments.reporting.render import TextTable
from lightning_modules.config import ModelConfig

MINIMA = {"rounds": 1, "pairs": 1, "steps": 2, "threads": 1, "workers": 0, "worker_rounds": 1, "runs_each": 1}
LEAST_ROWS = 1_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write; mistakes end with one line and status 2."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    with readable_errors():
        check(options)
        console, folder = Console(), folder_of(options)
        if options.schemes is not None:
            from experiments.benchmark.scheme_times import measure_schemes

            path = measure_schemes(options.schemes, options.rounds, folder, console)
            console.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)
            return
        config = configuration(options)
        measured = measure(config, options, console)
        show(measured, folder, console)


def folder_of(options: Namespace) -> Path:
    """Return where table and page go: below the folder of results that a person names, or to their local tables."""
    return below(Path(options.results), "benchmark") if options.results else below(RESULTS, "local", "benchmark")


def measure(config: RunConfig, options: Namespace, console: Console) -> list[dict[str, str]]:
    """Answer the one question that the options ask; return rows for the table."""
    from experiments.benchmark import measure as measuring  # torch takes seconds

    if options.growth is not None:
        return measuring.measure_growth(config, options, console)
    if options.variants is not None:
        return measuring.measure_variants(config, options, console)
    if options.memory_rows:
        return measuring.measure_memory(options, console)
    if options.side is None and options.against is None:
        return measuring.measure_sides(config, options, console)
    return measuring.measure_pair(config, options, console)


def show(measured: Sequence[Mapping[str, str]], folder: Path, console: Console) -> None:
    """Print what was measured, put it into the table of ``folder``, and write the page over the whole table."""
    from experiments.benchmark.speed_page import PAGE_FILE, page, sections
    from experiments.benchmark.table import TABLE_FILE, as_measurements, write_measurements
    from experiments.reporting.console import printed
    from experiments.runs.run_folder import write_atomically

    for section in sections(as_measurements(measured)):
        console.print(section.title, style="bold")
        varied, shared = split_grid(section.grid)
        if varied.columns:
            console.print(printed(varied))
        for sentence in (*shared, *section.found, *section.notes):
            console.print(f"• {sentence}", markup=False, highlight=False, soft_wrap=True)
    whole = write_measurements(folder, measured)
    write_atomically(folder / PAGE_FILE, page(whole).encode())
    for path in (folder / TABLE_FILE, folder / PAGE_FILE):
        console.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)


def split_grid(grid: TextTable) -> tuple[TextTable, list[str]]:
    """Return the columns in which rows differ, and what all rows share as one line: a terminal is narrow."""
    differs = [len(set(cells)) > 1 for cells in zip(*grid.rows, strict=True)]
    shared = [
        f"{name} {cell}" for name, cell, varies in zip(grid.columns, grid.rows[0], differs, strict=True) if not varies
    ]
    columns, *rows = (
        [cell for cell, varies in zip(line, differs, strict=True) if varies] for line in (grid.columns, *grid.rows)
    )
    return TextTable(columns, rows), [", ".join(shared)] if shared else []


def parse(arguments: Sequence[str]) -> Namespace:
    """Return the options of the command line."""
    parser = StrictParser(prog="python -m experiments.benchmark", description=__doc__)
    parser.add_argument("--sides", type=list[str], help="sides of the table, such as [lightning,plain]; all by default")
    parser.add_argument("--rounds", type=int, default=10, help="measurements of every side, size or variant")
    parser.add_argument("--memory", type=bool, default=True, help="also train every side in a process of its own")
    parser.add_argument(
        "--memory_rows", type=list[int], help="instead of the table: numbers of generated rows to prepare and train on"
    )
    parser.add_argument("--side", type=str, help="instead of the table: side in question, lightning by default")
    parser.add_argument("--against", type=str, help="side it is measured against, plain by default")
    parser.add_argument(
        "--growth", type=list[str], help="instead: axes along which to measure how cost grows, or []: all"
    )
    parser.add_argument(
        "--variants", type=list[str], help="instead: variants whose training steps to time, or []: those of the claims"
    )
    parser.add_argument("--schemes", type=list[str], help="instead: schemes to time in terms of Pre-LN, or []: all")
    parser.add_argument("--pairs", type=int, default=10, help="interleaved pairs of measurements of two sides")
    parser.add_argument("--workers", type=int, default=2, help="after pairs: workers to compare with one; 0: none")
    parser.add_argument("--worker_rounds", type=int, default=3, help="times that one worker and several are compared")
    parser.add_argument("--runs_each", type=int, default=2, help="runs that count per worker and round")
    parser.add_argument("--steps", type=int, default=80, help="optimiser steps of a measurement")
    parser.add_argument("--width", type=int, default=64, help="width of the networks")
    parser.add_argument("--layers", type=int, default=6, help="blocks of the networks")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of every side")
    parser.add_argument("--precision", type=str, default="32-true", help="precision of our sides, or bf16-mixed")
    parser.add_argument("--results", type=str, help="folder of results, results/local by default")
    return parser.parse_args(list(arguments))


def check(options: Namespace) -> None:
    """Raise :class:`ExperimentError` if options are out of range or contradict each other."""
    for name, least in MINIMA.items():
        if options[name] < least:
            raise ExperimentError(f"--{name} is {options[name]}; it must be at least {least}")
    if options.memory_rows and min(options.memory_rows) < LEAST_ROWS:
        raise ExperimentError(f"--memory_rows has {min(options.memory_rows)}; it must be at least {LEAST_ROWS}")
    pair = options.side is not None or options.against is not None
    if options.growth is not None and (pair or options.sides is not None):
        raise ExperimentError("--growth varies the size of our own runs; leave out --sides, --side and --against")
    if options.variants is not None and (pair or options.sides is not None or options.growth is not None):
        raise ExperimentError("--variants times our own runs; leave out --sides, --side, --against and --growth")
    if options.schemes is not None:
        others = ("sides", "growth", "variants", "memory_rows", "side", "against")
        given = next((name for name in others if options[name] is not None), None)
        if given is not None:
            raise ExperimentError(f"--schemes writes a table of its own; leave out --{given}")
    if pair and options.sides is not None:
        raise ExperimentError("--sides asks for a table, --side and --against for pairs; give one or the other")
    if pair and (options.side or "lightning") == (options.against or "plain"):
        side = options.side or "lightning"
        raise ExperimentError(f"--side and --against are both {side!r}; name two different sides")


def configuration(options: Namespace) -> RunConfig:
    """Return the task: one epoch of the given steps and size."""
    data = DataConfig(corpus="docstrings")
    return RunConfig(
        model=ModelConfig(variant="pre_ln", layers=options.layers, width=options.width),
        data=DataConfig(corpus=data.corpus, max_train_rows=options.steps * data.batch_size),
        trainer=TrainerConfig(max_epochs=1, accelerator="cpu", precision=options.precision),
        threads=options.threads,
    )


if __name__ == "__main__":
    main()
