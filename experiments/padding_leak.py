"""Moved: ``python -m experiments.studies run padding_leak --runs RUN …``. This name goes with the next release."""

from __future__ import annotations

if not __package__:  # started by its path, where Python finds neither our packages nor its own `statistics`
    raise SystemExit("error: start it from the repository's folder with: python -m experiments.padding_leak")

import shlex
import sys
from collections.abc import Sequence

from experiments.planning.parser import StrictParser
from experiments.studies.__main__ import main as studies


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the new command and run it; arguments are run folders and ``--output FOLDER``, as they were."""
    parser = StrictParser(prog="python -m experiments.padding_leak", description=__doc__)
    parser.add_argument("runs", type=str, nargs="+", metavar="RUN", help="run folder with a checkpoint")
    parser.add_argument("--output", type=str, help="folder to write table, page and figure to (default: none)")
    parsed = parser.parse_args(list(sys.argv[1:] if arguments is None else arguments))
    given = ["run", "padding_leak", "--runs", *parsed.runs, *(["--output", parsed.output] if parsed.output else [])]
    print(f"moved: python -m experiments.studies {shlex.join(given)}", file=sys.stderr)
    studies(given)


if __name__ == "__main__":
    main()
