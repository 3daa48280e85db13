"""Compare our training speed with a plain loop and other people's code: ``python -m experiments.benchmark``.

    python -m experiments.benchmark [--task causal_lm] [--sides [plain,hf_gpt2]] [--processes 2]   a table of all sides
    python -m experiments.benchmark --side lightning [--against plain] [--pairs 10]  what one costs over another
    python -m experiments.benchmark --variants [post_ln,pre_ln] [--rounds 10]        a step of each variant, or of [all]
    python -m experiments.benchmark --schemes [] [--rounds 10]                       time of every scheme over Pre-LN's
    python -m experiments.benchmark --scheme_memory []                               memory of a scheme over Pre-LN's
    python -m experiments.benchmark --growth [depth,width,length,rows,seeds,workers] how cost grows with size
    python -m experiments.benchmark --runners [--runs 8] [--workers 2]               the same runs by several ways
    python -m experiments.benchmark --profile plain                                  where the time of a step goes
    python -m experiments.benchmark --memory_rows [200000,5000000]                   memory as rows grow

Every side trains the same task, in one precision and with dropout at the same places unless told otherwise. For the
table, each round measures every side once, in changing order; the sides of others need
``requirements-benchmark.txt``. Of two sides, interleaved pairs are measured; then whole runs are made by one worker and
by several. Every measurement becomes a row of ``benchmark.csv``, from which ``benchmark.md`` is written; both go to
``results/local/benchmark``. Leave the machine idle while it measures: other work widens the intervals.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from jsonargparse import Namespace
from rich.console import Console

from data_modules.config import DataConfig
from experiments.benchmark.roster import ALIKE, CLASSIFICATION, DROPOUTS, NO_DROPOUT
from experiments.errors import ExperimentError, readable_errors
from experiments.paths import RESULTS, below
from experiments.planning.names import reject_unknown
from experiments.planning.parser import StrictParser
from experiments.planning.run_config import RunConfig, TrainerConfig
from experiments.reporting.render import TextTable
from experiments.tasks import task_named
from lightning_modules.config import ModelConfig

MINIMA = {
    **{"rounds": 1, "pairs": 1, "steps": 2, "threads": 1, "processes": 1},
    **{"workers": 0, "worker_rounds": 1, "runs_each": 1, "runs": 1},
}
LEAST_ROWS = 1_000
QUESTIONS = ("growth", "variants", "schemes", "scheme_memory", "runners", "profile", "memory_rows")
"""Options that ask for something else than a table of sides or pairs; one at a time."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write; mistakes end with one line and status 2."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    with readable_errors():
        check(options)
        console, folder = Console(), folder_of(options)
        if options.schemes is not None or options.scheme_memory is not None:
            from experiments.benchmark.scheme_times import measure_schemes, weigh_schemes

            if options.schemes is not None:
                path = measure_schemes(options.schemes, options.rounds, folder, console)
            else:
                path = weigh_schemes(options.scheme_memory, folder, console)
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

    if options.variants is not None:
        from experiments.benchmark.schemes_timed import measure_variants

        return measure_variants(config, options, console)
    if options.runners:
        from experiments.benchmark.runners import measure_runners

        return measure_runners(config, options, console)
    if options.profile is not None:
        from experiments.benchmark.profile_step import measure_profile

        return measure_profile(config, options, console)
    if options.growth is not None:
        return measuring.measure_growth(config, options, console)
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
    parser.add_argument(
        "--task", type=str, default=CLASSIFICATION, help="what is trained: classification, causal_lm or masked_lm"
    )
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
        "--variants",
        type=list[str],
        help="instead: variants whose training steps to time; []: those of the claims; [all]: all that can be trained",
    )
    parser.add_argument("--schemes", type=list[str], help="instead: schemes to time in terms of Pre-LN, or []: all")
    parser.add_argument(
        "--scheme_memory", type=list[str], help="instead: schemes whose memory to count over Pre-LN's, or []: all"
    )
    parser.add_argument(
        "--runners", action="store_true", help="instead: the same runs by the grid runner, as scripts and by Ray"
    )
    parser.add_argument("--profile", type=str, help="instead: side whose training step to divide by kinds of operators")
    parser.add_argument("--pairs", type=int, default=10, help="interleaved pairs of measurements of two sides")
    parser.add_argument("--workers", type=int, default=2, help="after pairs: workers to compare with one; 0: none")
    parser.add_argument("--worker_rounds", type=int, default=3, help="times that one worker and several are compared")
    parser.add_argument("--runs_each", type=int, default=2, help="runs that count per worker and round")
    parser.add_argument("--runs", type=int, default=8, help="runs that every way of --runners makes")
    parser.add_argument("--steps", type=int, default=80, help="optimiser steps of a measurement")
    parser.add_argument("--width", type=int, default=64, help="width of the networks")
    parser.add_argument("--layers", type=int, default=6, help="blocks of the networks")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of every side")
    parser.add_argument(
        "--processes", type=int, default=1, help="one-thread processes that train side by side, of every side"
    )
    parser.add_argument(
        "--precision", type=str, default="32-true", help="precision of all sides but usual scripts, or bf16-mixed"
    )
    parser.add_argument(
        "--dropout",
        type=str,
        default=ALIKE,
        help="alike: at our places in all networks; own: where each has it by itself; none",
    )
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
    asked = [name for name in QUESTIONS if options[name] not in (None, False, [])] + [
        name for name in ("growth", "variants", "schemes", "scheme_memory") if options[name] == []
    ]
    if len(asked) > 1:
        raise ExperimentError(f"--{asked[0]} and --{asked[1]} are two questions; ask one at a time")
    if asked and (pair or options.sides is not None):
        raise ExperimentError(f"--{asked[0]} is another question; leave out --sides, --side and --against")
    reject_unknown("--dropout", options.dropout, DROPOUTS)
    if options.processes > 1 and options.threads > 1:
        raise ExperimentError("--processes have one thread each; leave out --threads")
    if options.processes > 1 and asked:
        raise ExperimentError(f"--processes are for sides and pairs; leave it out with --{asked[0]}")
    if options.growth is not None and options.task != CLASSIFICATION:
        raise ExperimentError("--growth measures on generated rows with classes; leave out --task")
    if options.runners and options.workers < 1:
        raise ExperimentError("--workers is 0; --runners needs at least one")
    if pair and options.sides is not None:
        raise ExperimentError("--sides asks for a table, --side and --against for pairs; give one or the other")
    if pair and (options.side or "lightning") == (options.against or "plain"):
        side = options.side or "lightning"
        raise ExperimentError(f"--side and --against are both {side!r}; name two different sides")


def configuration(options: Namespace) -> RunConfig:
    """Return the task: one epoch of the given steps and size."""
    spec = task_named(options.task)
    config = RunConfig(
        model=ModelConfig(variant="pre_ln", layers=options.layers, width=options.width),
        data=DataConfig(corpus="docstrings"),
        trainer=TrainerConfig(max_epochs=1, accelerator="cpu", precision=options.precision),
        threads=options.threads,
        task=spec.name,
    ).with_values(dict(spec.defaults))
    if options.dropout == NO_DROPOUT:
        config = config.with_values({"model.dropout": 0.0})
    if spec.name == CLASSIFICATION:
        return config.with_values({"data.max_train_rows": options.steps * config.data.batch_size})
    if options.runners:
        return config.with_values({"trainer.max_steps": options.steps})
    return replace(config, trainer_flags={"limit_train_batches": options.steps})


if __name__ == "__main__":
    main()
