"""Measure published results again and judge each by the rule of its claim file.

    python -m experiments.reproduce run|report [IDS …]

``run`` makes the measurements that are missing, on one core in minutes, and reports; ``report`` rewrites tables,
figures and verdicts from the measurements alone. IDS are claims such as T1 or T10; all by default. The claims are the
files ``experiments/claims/published``; one that needs training runs is judged by the records of its grid.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import Namespace
from rich.console import Console

from experiments.errors import readable_errors
from experiments.paths import RESULTS
from experiments.planning.parser import StrictParser
from experiments.reproductions.claim import load_claims

VERBS = ("run", "report")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb; mistakes end with one line and status 2."""
    parsed = parse(sys.argv[1:] if arguments is None else arguments)
    results, console = Path(parsed.results), Console(force_jupyter=False)
    with readable_errors():
        if parsed.verb == "run":
            run(parsed.ids, results, console)
        report(parsed.ids, results, console)


def parse(arguments: Sequence[str]) -> Namespace:
    """Return the options of the command line."""
    parser = StrictParser(prog="python -m experiments.reproduce", description=__doc__)
    parser.add_argument("verb", choices=VERBS, help="what to do")
    parser.add_argument("ids", type=str, nargs="*", help="claims, such as T1 T10 (default: all)")
    parser.add_argument("--results", type=str, default=str(RESULTS), help="folder of measurements and tables")
    return parser.parse_args(list(arguments))


def run(ids: Sequence[str], results: Path, console: Console) -> None:
    """Make the missing measurements."""
    from experiments.reproductions.running import run_claims

    made = run_claims(load_claims(ids), results, console)
    console.print(f"{made} measurement(s) made" if made else "every measurement is there", highlight=False)


def report(ids: Sequence[str], results: Path, console: Console) -> None:
    """Rewrite the results of the named claims and the report of all, and print the verdicts."""
    from experiments.reproductions.report import print_verdicts, write_report

    print_verdicts(write_report(results, ids), console)


if __name__ == "__main__":
    main()
