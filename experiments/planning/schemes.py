"""``--schemes FILE.py``: the one way in for a scheme of one's own. Only what a person types is taken."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from jsonargparse import ArgumentParser

from experiments.errors import ExperimentError
from experiments.planning.parser import take_option
from lightning_modules.schemes.files import load_scheme_file, read_scheme_file

OPTION = "--schemes"


def take_schemes(arguments: Sequence[str]) -> list[str]:
    """Execute the scheme files that a command line names, and return its other arguments.

    It comes before any parser, so that a variant of such a file is known wherever variants are checked, and so that no
    configuration file can name one.

    Raises:
        ExperimentError: the option has no value.
        ConfigurationError: a file cannot be read, fails, or registers no variant.
    """
    paths, rest = take_option(arguments, OPTION)
    for path in paths:
        if not path or path.startswith("--"):
            raise ExperimentError(f"{OPTION} needs a Python file, such as {OPTION} my_scheme.py")
        load_scheme_file(read_scheme_file(Path(path).expanduser()))
    return rest


def add_schemes_option(parser: ArgumentParser) -> None:
    """Show the option in a parser's help; a value that reaches the parser comes from a file and is refused."""
    parser.add_argument(
        OPTION,
        type=refused,
        metavar="FILE.py",
        help="a Python file with schemes of your own; it is executed, so it is taken from the command line only",
    )


def refused(value: str) -> NoReturn:
    """Refuse a scheme file that a configuration names.

    Raises:
        ValueError: always.
    """
    raise ValueError("a scheme file is named on the command line, in no configuration")
