"""Make a trained run smaller and faster: eight bits, fewer weights, heads, hidden units or blocks.

    python -m experiments.compress RUN
    python -m experiments.compress RUN --methods [float32,int8,blocks:0.5,blocks:0.5+int8] --tune_steps 100
    python -m experiments.compress RUN --output smaller

RUN is a run folder. A method is a form (float32, bfloat16, onnx, int8), or a share of weights, heads, units or blocks
to remove, as in ``units:0.5``. A pruned network is in float32, or in the form after a plus. One table shows the size of
the file, and with one and two threads the time for one text and the rate for many. It also shows the loss of accuracy
and macro F1, with the paired 95 % interval. Times are of the networks alone, measured in turn. ``--output`` keeps the
table and the ONNX files, which the packages of ``requirements-export.txt`` make.
"""

from __future__ import annotations

if not __package__:  # started by its path, where Python finds neither our packages nor its own `statistics`
    raise SystemExit("error: start it from the repository's folder with: python -m experiments.compress")

import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from jsonargparse import Namespace
from jsonargparse.typing import NonNegativeInt, PositiveInt
from rich.console import Console

from experiments.errors import ExperimentError, explained, readable_errors
from experiments.planning.parser import StrictParser, add_schemes_option, take_schemes
from experiments.planning.saved_runs import load_run_config, run_folder

METHODS = ["float32", "bfloat16", "onnx", "int8", "weights:0.5", "heads:0.5", "units:0.5", "blocks:0.5"]
TABLE_FILE, PAGE_FILE = "compression.csv", "compression.md"


def main(arguments: Sequence[str] | None = None) -> None:
    """Compress a run and print the table; mistakes end with one line and status 2."""
    with readable_errors():
        parsed = parse(take_schemes(sys.argv[1:] if arguments is None else arguments))
        folder = run_folder(parsed.run)
        config = load_run_config(folder)
        output = None if parsed.output is None else new_folder(Path(parsed.output).expanduser())
        console = Console(force_jupyter=False)
        with Console(stderr=True).status("loading"):
            from dataclasses import replace

            from experiments.compressing import (
                WHOLE,
                Method,
                answers_of,
                compress,
                losses,
                measured,
                rows_as_numbers,
                rows_of,
                table_of,
            )
            from experiments.reporting.console import printed
            from experiments.runs.inference import TrainedModel

            methods = [Method.of(name) for name in dict.fromkeys([WHOLE, *parsed.methods])]
            trained = TrainedModel.load(folder)
        trained.module.cpu()
        tune = replace(config.trainer, max_steps=parsed.tune_steps, max_tokens=None) if parsed.tune_steps else None
        rows = rows_of(trained.data)
        with ExitStack() as stack:
            place = output or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="resnorm-compress-")))
            made, answers = [], {}
            for method in methods:
                with Console(stderr=True).status(method.name):
                    made.append(compress(trained, method, place, tune))
                    answers[method.name] = answers_of(made[-1].forward(1), rows)
            lost = {name: losses(answers[WHOLE], found, rows) for name, found in answers.items()}
            speeds = {}
            for threads in parsed.threads:
                with Console(stderr=True).status(f"timing with {threads} thread(s)"):
                    speeds[threads] = measured(made, rows_of(trained.data, parsed.rows), threads, parsed.rounds)
        table = table_of(made, lost, speeds)
        console.print(printed(table))
        if output is not None:
            write(output, rows_as_numbers(made, lost, speeds), table)
            console.print(f"wrote {output}", markup=False, highlight=False, soft_wrap=True)


def write(output: Path, numbers: list[dict[str, object]], table: object) -> None:
    """Write the table as CSV with all digits, and as a page."""
    from experiments.reporting.render import TextTable, to_csv, to_markdown
    from experiments.runs.run_folder import write_atomically

    assert isinstance(table, TextTable)
    plain = TextTable(list(numbers[0]), [[str(value) for value in row.values()] for row in numbers])
    write_atomically(output / TABLE_FILE, to_csv(plain).encode())
    write_atomically(output / PAGE_FILE, to_markdown(table).encode())


def new_folder(path: Path) -> Path:
    """Make the folder for results.

    Raises:
        ExperimentError: it holds something already, which would be mixed up with them.
    """
    with explained(path):
        if path.is_symlink() or path.is_file() or (path.is_dir() and any(path.iterdir())):
            raise ExperimentError(f"--output {path} is there already and not empty; name another folder")
        path.mkdir(parents=True, exist_ok=True)
    return path


def parse(arguments: Sequence[str]) -> Namespace:
    """Return the options of the command line."""
    parser = StrictParser(prog="python -m experiments.compress", description=__doc__)
    parser.add_argument("run", type=str, help="run folder with a checkpoint")
    parser.add_argument("--methods", type=list[str], default=METHODS, help="ways to make it smaller")
    parser.add_argument(
        "--tune_steps",
        type=NonNegativeInt,
        default=0,
        help="optimiser steps that a pruned network is trained further, at a tenth of its rate",
    )
    parser.add_argument("--rows", type=PositiveInt, default=1000, help="rows of the throughput")
    parser.add_argument("--rounds", type=PositiveInt, default=3, help="times that every method is timed, in turn")
    parser.add_argument("--threads", type=list[PositiveInt], default=[1, 2], help="numbers of threads to time with")
    parser.add_argument("--output", type=str, help="new folder for the table and the networks of ONNX")
    add_schemes_option(parser)
    return parser.parse_args(list(arguments))


if __name__ == "__main__":
    main()
