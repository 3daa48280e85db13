"""Does padding leak into the answers? Test rows of trained runs, padded less and more than when they were tested.

    python -m experiments.padding_leak RUN [RUN …] [--output FOLDER]

RUN is a run folder, such as ``results/runs/article_code/docstrings/post_ln/default/seed_0``; all runs must be of one
corpus. Its chosen checkpoint answers the test rows as they were tested, with 8, 16 and 32 more columns of padding in
every batch, and each row alone. Printed is how many rows get another class, what macro-F1 becomes and the largest
change of a probability; ``--output`` also writes them as CSV, as a page and as a figure.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace
from rich.console import Console

from experiments.errors import explained, readable_errors
from experiments.planning.parser import StrictParser
from experiments.planning.saved_runs import run_folder


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write; mistakes end with one line and status 2."""
    parsed = parse(sys.argv[1:] if arguments is None else arguments)
    with readable_errors():
        folders = list(dict.fromkeys(run_folder(name) for name in parsed.runs))
        measure(folders, Path(parsed.output).expanduser() if parsed.output else None, Console())


def parse(arguments: Sequence[str]) -> Namespace:
    """Return the options of the command line."""
    parser = StrictParser(prog="python -m experiments.padding_leak", description=__doc__)
    parser.add_argument("runs", type=str, nargs="+", metavar="RUN", help="run folder with a checkpoint")
    parser.add_argument("--output", type=str, help="folder to write table, page and figure to (default: none)")
    return parser.parse_args(list(arguments))


def measure(folders: Sequence[Path], output: Path | None, console: Console) -> None:
    """Measure every run, which takes seconds each; print the table and write it where that is asked for."""
    if output is not None:
        with explained(output):
            output.mkdir(parents=True, exist_ok=True)  # before anything is measured
    from experiments.padding.measure import measure_runs
    from experiments.padding.networks import finding, networks_of
    from experiments.padding.page import network_grid, write
    from experiments.reporting.console import printed
    from experiments.reporting.render import plural

    with Console(stderr=True).status("answering the test rows"):
        runs = measure_runs(folders)
    networks = networks_of(runs)
    for network in networks:
        console.print(f"{network.label}, {plural(len(network.runs), 'run')}", markup=False, highlight=False)
        console.print(printed(network_grid(network)))
    console.print(f"• {finding(networks)}", markup=False, highlight=False, soft_wrap=True)
    for path in [] if output is None else write(runs, output):
        console.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
