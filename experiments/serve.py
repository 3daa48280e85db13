"""Serve trained runs: a REST service and a page on which a text is answered by up to four runs side by side.

    python -m experiments.serve RUN
    python -m experiments.serve RUN RUN --port 8080 --workers 2
    python -m experiments.serve RUN --host 0.0.0.0 --allowed_hosts [models.example.org] --api_key_file key.txt

RUN is a run folder, such as ``results/runs/quick/docstrings/pre_ln/default/seed_0``. ``POST /predict`` answers one text
or a list, ``/health``, ``/info`` and ``/metrics`` tell how the service is, ``/docs`` describes the interface, and ``/``
is the page. It needs the packages of ``requirements-serve.txt`` and listens to this machine alone unless told
otherwise.
"""

from __future__ import annotations

if not __package__:  # started by its path, where Python finds neither our packages nor its own `statistics`
    raise SystemExit("error: start it from the repository's folder with: python -m experiments.serve")

import sys
from collections.abc import Sequence
from dataclasses import fields
from importlib.util import find_spec

from jsonargparse import Namespace

from experiments.errors import ExperimentError, readable_errors
from experiments.planning.parser import SCHEMES, StrictParser, add_schemes_option, take_option, take_schemes
from experiments.serving.options import ServiceOptions, api_key, folders_of

NEEDED = ("fastapi", "uvicorn", "prometheus_client")


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until a signal comes; mistakes end with one line and status 2."""
    with readable_errors():
        given = list(sys.argv[1:] if arguments is None else arguments)
        schemes, _ = take_option(given, SCHEMES)
        parsed = parse(take_schemes(given))
        options = ServiceOptions(**{entry.name: parsed[entry.name] for entry in fields(ServiceOptions)})
        key = api_key(options)
        missing = [name for name in NEEDED if find_spec(name) is None]
        if missing:
            raise ExperimentError(
                f"{missing[0]} is not installed; get it with: python -m pip install -r requirements-serve.txt"
            )
        folders = folders_of(parsed.runs)
        from experiments.serving.listening import listen

        try:
            listen(folders, options, key, tuple(schemes))
        except KeyboardInterrupt:  # requests have been answered
            raise SystemExit(0) from None


def parse(arguments: Sequence[str]) -> Namespace:
    """Return the options of the command line."""
    parser = StrictParser(prog="python -m experiments.serve", description=__doc__)
    parser.add_argument("runs", type=str, nargs="+", metavar="RUN", help="run folder with a checkpoint; at most four")
    parser.add_class_arguments(ServiceOptions, as_group=False)
    add_schemes_option(parser)
    return parser.parse_args(list(arguments))


if __name__ == "__main__":
    main()
