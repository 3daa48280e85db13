"""Moved: ``python -m experiments.studies``, with the same arguments. This name goes with the next release."""

from __future__ import annotations

if not __package__:  # started by its path, where Python finds neither our packages nor its own `statistics`
    raise SystemExit("error: start it from the repository's folder with: python -m experiments.reproduce")

import shlex
import sys
from collections.abc import Sequence

from experiments.studies.__main__ import main as studies


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the new command and run it."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    print(f"moved: python -m experiments.studies {shlex.join(given)}", file=sys.stderr)
    studies(given)


if __name__ == "__main__":
    main()
