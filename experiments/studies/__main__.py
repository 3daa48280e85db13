"""Measure published results again and judge each by the rule of its claim file; measure what padding does.

    python -m experiments.studies run|report|publish [NAME …]
    python -m experiments.studies run padding_leak --runs RUN [RUN …] [--output FOLDER]
    python -m experiments.studies plan|run|report|publish zoo_stability [--cpu_minutes N --layers 6 12]
    python -m experiments.studies run removed_blocks --runs RUN [RUN …] --output FOLDER

``run`` makes the measurements that are missing, on one core in minutes, and reports; ``report`` writes tables, figures
and verdicts from the measurements alone, to ``results/local/reproductions``. ``publish`` checks that nothing is missing
and writes them in place of the committed ones. NAME is a claim of ``experiments/claims/published``, such as T1 or
T10, or padding_leak; all claims by default. A claim that needs training runs is judged by the records of its grid.

padding_leak asks whether padding leaks into the answers of trained runs. RUN is a run folder, such as
``results/runs/article_code/docstrings/post_ln/default/seed_0``; all runs must be of one corpus. Its chosen checkpoint
answers the test rows in several arrangements: as they were tested, with 8, 16 and 32 more columns of padding in every
batch, and each row alone. The command prints how many rows get another class, the new macro-F1 and the largest change
of a probability; ``--output`` also writes them as CSV, as a page and as a figure.

removed_blocks asks how many blocks a trained network can lose. Runs that the folder holds already are not measured
again.

zoo_stability asks for the largest learning rate that every scheme survives at every depth
(``experiments/studies/zoo_stability.yaml``). ``plan`` prints its price by a measured step. ``run`` makes one training
run after the other on one core and keeps each; start it once for every core. It goes on where it was stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace
from rich.console import Console

from experiments.errors import ExperimentError, readable_errors
from experiments.paths import RESULTS, below
from experiments.planning.parser import StrictParser

VERBS = ("plan", "run", "report", "publish")
PADDING_LEAK, REMOVED_BLOCKS, ZOO_STABILITY = "padding_leak", "removed_blocks", "zoo_stability"
OF_RUNS = (PADDING_LEAK, REMOVED_BLOCKS)
"""Studies of trained runs, which a person names."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb; mistakes end with one line and status 2."""
    parsed = parse(sys.argv[1:] if arguments is None else arguments)
    names, results, console = list(parsed.names), Path(parsed.results), Console(force_jupyter=False)
    with readable_errors():
        check(parsed, names)
        if PADDING_LEAK in names or not names:
            padding_leak(parsed, results, console)
        if REMOVED_BLOCKS in names or not names:
            removed_blocks(parsed, results, console)
        if ZOO_STABILITY in names:
            zoo_stability(parsed, results, console)
        published = [name for name in names if name not in (*OF_RUNS, ZOO_STABILITY)]
        if published or not names:
            published_results(parsed.verb, published, results, console)


def parse(arguments: Sequence[str]) -> Namespace:
    """Parse the command line."""
    parser = StrictParser(prog="python -m experiments.studies", description=__doc__)
    parser.add_argument("verb", choices=VERBS, help="what to do")
    parser.add_argument("names", type=str, nargs="*", metavar="NAME", help="such as T1 T10 padding_leak (default: all)")
    parser.add_argument(
        "--runs", type=str, nargs="+", metavar="RUN", help="run folders that padding_leak or removed_blocks measures"
    )
    parser.add_argument("--output", type=str, help="folder for table, page and figure of such a study")
    parser.add_argument("--cpu_minutes", type=float, help="zoo_stability: begin no scheme once as many are used")
    parser.add_argument("--layers", type=int, nargs="+", default=[], help="zoo_stability: depths to measure now")
    parser.add_argument("--results", type=str, default=str(RESULTS), help="folder of measurements and tables")
    return parser.parse_args(list(arguments))


def check(parsed: Namespace, names: Sequence[str]) -> None:
    """Refuse options that do not fit together, before anything is measured."""
    of_runs = [name for name in names if name in OF_RUNS] if parsed.verb == "run" else []
    if len(of_runs) > 1:
        raise ExperimentError(f"{' and '.join(of_runs)} each have runs and a folder of their own; run one at a time")
    if of_runs and not parsed.runs:
        raise ExperimentError(f"{of_runs[0]} measures trained runs: name their folders with --runs")
    if of_runs == [REMOVED_BLOCKS] and not parsed.output:
        raise ExperimentError(f"{REMOVED_BLOCKS} keeps what it has measured: name a folder with --output")
    if (parsed.runs or parsed.output) and not of_runs:
        raise ExperimentError(f"--runs and --output belong to `run {PADDING_LEAK}` and `run {REMOVED_BLOCKS}`")
    if parsed.verb == "plan" and names != [ZOO_STABILITY]:
        raise ExperimentError(f"plan prices {ZOO_STABILITY} alone; the other studies take minutes")
    if parsed.cpu_minutes is not None and (parsed.verb != "run" or ZOO_STABILITY not in names):
        raise ExperimentError(f"--cpu_minutes belongs to `run {ZOO_STABILITY}`")
    if parsed.layers and (parsed.verb != "run" or ZOO_STABILITY not in names):
        raise ExperimentError(f"--layers belongs to `run {ZOO_STABILITY}`")
    if parsed.cpu_minutes is not None and not parsed.cpu_minutes > 0:
        raise ExperimentError(f"--cpu_minutes is {parsed.cpu_minutes:g}; it must be above 0")


def padding_leak(parsed: Namespace, results: Path, console: Console) -> None:
    """Measure the runs that are named, or rewrite the pages of what was measured before."""
    from experiments.studies import padding_leak

    if parsed.runs:
        padding_leak.run(parsed.runs, Path(parsed.output).expanduser() if parsed.output else None, console)
    else:
        into = results if parsed.verb == "publish" else below(results, "local")
        for path in padding_leak.report(results, into):
            console.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)


def removed_blocks(parsed: Namespace, results: Path, console: Console) -> None:
    """Measure the runs that are named, or rewrite the pages of what was measured before."""
    from experiments.studies import removed_blocks

    if parsed.runs:
        removed_blocks.run(parsed.runs, Path(parsed.output).expanduser(), console)
    else:
        into = results if parsed.verb == "publish" else below(results, "local")
        for path in removed_blocks.report(results, into):
            console.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)


def zoo_stability(parsed: Namespace, results: Path, console: Console) -> None:
    """Price the stability map, make its missing runs, or write its table, page and figure."""
    from experiments.studies.rate_edges import RateQuestion

    question = RateQuestion.read()
    if parsed.verb in ("plan", "run"):
        from experiments.studies import rate_trials

        if parsed.verb == "plan":
            rate_trials.print_price(question, console)
        else:
            made = rate_trials.make_missing_trials(question, results, console, parsed.cpu_minutes, parsed.layers)
            console.print(f"{made} runs made", highlight=False)
    if parsed.verb != "plan":
        from experiments.studies.rate_page import write_map

        into = results if parsed.verb == "publish" else below(results, "local")
        for path in write_map(question, results, into):
            console.print(f"wrote {path}", markup=False, highlight=False, soft_wrap=True)


def published_results(verb: str, ids: Sequence[str], results: Path, console: Console) -> None:
    """Make missing measurements, write the results of the named claims and the report of all, print verdicts."""
    from experiments.studies.measurements import measure_missing, published_folder
    from experiments.studies.published import load_results
    from experiments.studies.report import REPORT_FILE, own_folder, print_verdicts, write_report

    if verb == "run":
        made = measure_missing(load_results(ids), results, console)
        console.print(f"{made} measurement(s) made" if made else "every measurement is there", highlight=False)
    folder = published_folder(results) if verb == "publish" else own_folder(results)
    print_verdicts(write_report(results, folder, ids), console)
    console.print(f"wrote {folder / REPORT_FILE}", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
