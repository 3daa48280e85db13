"""Command-line flags and YAML values checked against the configuration dataclasses, by jsonargparse.

Two options are taken from the command line alone, before any parser, since they run code: ``--allow-import NAME`` and
``--schemes FILE.py``.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace, get_loader, set_loader, set_parsing_settings

from data_modules.config import DataConfig
from data_modules.errors import nearest, shortened
from experiments.errors import ExperimentError
from experiments.planning.names import nest, reject_unknown
from experiments.planning.run_config import ProbesConfig, StartConfig, TrainerConfig
from experiments.planning.yaml_files import LARGEST_FILE, TooLarge, refuse_bombs
from lightning_modules.config import ModelConfig
from lightning_modules.schemes.own_files import load_scheme_file, read_scheme_file

SECTIONS: dict[str, type] = {
    "model": ModelConfig,
    "data": DataConfig,
    "trainer": TrainerConfig,
    "probes": ProbesConfig,
    "start": StartConfig,
}

LONGEST_MESSAGE = 1_000
"""Characters of a mistake's explanation: a value of an option may be of any length."""
ALLOW_IMPORT, SCHEMES = "--allow-import", "--schemes"
IMPORTABLE = ("lightning.pytorch", "lightning_modules", "data_modules")
"""What a value may name as a class. A grid, a configuration or a run folder is data. A class path in it is an import,
and an import runs code. So nothing else is imported unless a person allows it on the command line."""

set_parsing_settings(
    docstring_parse_attribute_docstrings=True, import_path_denylist=["*"], import_path_allowlist=list(IMPORTABLE)
)


def load_bounded(value: str) -> Any:
    """Read YAML as jsonargparse does, files of ``--config`` and values of options alike, within bounds.

    Raises:
        yaml.YAMLError: it is no YAML, or its values would fill memory (:func:`refuse_bombs`).
    """
    if len(value) > LARGEST_FILE:
        raise TooLarge(f"it is longer than {LARGEST_FILE:,} characters")
    refuse_bombs(value)
    try:
        return _load_yaml(value)
    except (ValueError, RecursionError) as error:
        raise TooLarge(str(error)) from None


_load_yaml = get_loader("yaml")
set_loader("yaml", load_bounded, exceptions=(yaml.YAMLError,))

PRECISION_HELP = "choose trainer.precision by the device and a measurement of seconds, made once and then remembered"


class StrictParser(ArgumentParser):
    """A parser that takes no abbreviations and answers a mistake with one line that names the nearest option.

    Args:
        near: options of other parsers that a mistake may also be near to.
    """

    def __init__(self, *args: Any, near: tuple[str, ...] = (), **options: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **options})
        self.near = near

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print ``message`` with the nearest option and end with status 2.

        Raises:
            ArgumentError: if the parser was built with ``exit_on_error=False``.
        """
        message = explain(message, [*self.option_names(), *self.near])
        if not self.exit_on_error:
            raise ArgumentError(None, message) from ex
        print(f"error: {message}", file=sys.stderr)
        raise SystemExit(2)

    def parse_args(self, *arguments: Any, **options: Any) -> Any:
        """Parse a command line; a class path that may not be imported is a mistake like any other."""
        try:
            return super().parse_args(*arguments, **options)
        except ImportError as error:
            self.error(str(error), error)

    def parse_object(self, *arguments: Any, **options: Any) -> Namespace:
        """Parse nested plain values; a class path that may not be imported is a mistake like any other."""
        try:
            return super().parse_object(*arguments, **options)
        except ImportError as error:
            self.error(str(error), error)

    def option_names(self) -> list[str]:
        """Return every option of this parser, such as ``--model.layers``."""
        return [name for action in self._actions for name in action.option_strings]


def take_option(arguments: Sequence[str], option: str) -> tuple[list[str], list[str]]:
    """Take an option off a command line before any parser sees it, so that no configuration file can give it.

    Returns:
        The option's values, empty if one is missing, and the other arguments.
    """
    values: list[str] = []
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        name, equals, value = argument.partition("=")
        if name == option:
            values.append(value if equals else next(waiting, ""))
        else:
            rest.append(argument)
    return values, rest


def allow_imports(arguments: Sequence[str]) -> list[str]:
    """Allow the packages that ``--allow-import NAME`` names on a command line, and return its other arguments.

    Raises:
        ExperimentError: the name is no import path.
    """
    names, rest = take_option(arguments, ALLOW_IMPORT)
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")):
            raise ExperimentError(f"{ALLOW_IMPORT} needs the name of a package, such as {ALLOW_IMPORT} my_callbacks")
        set_parsing_settings(import_path_allowlist=[name])
    return rest


def explain(message: str, options: list[str]) -> str:
    """``message`` on one line, with the nearest option if it names an unknown one."""
    message = shortened(" ".join(message.split()), LONGEST_MESSAGE)
    denied = re.search(r"Importing '([\w.]+)' is not allowed", message)
    if denied:
        return (
            f"{denied[1]} would be imported, and an import runs code; if you trust it, name it on the command line of "
            f"experiments.train: {ALLOW_IMPORT} {denied[1].partition('.')[0]}"
        )
    unknown = re.search(r"[Uu]nrecognized arguments: (--[\w.]+)", message)
    if unknown:
        return f"option {unknown[1]} is not known{nearest(unknown[1], options)}"
    inner = re.search(r"Group '([\w.]+)' does not accept option '([\w.]+)'", message)
    if inner:
        name = f"--{inner[1]}.{inner[2]}"
        return f"option {name[2:]} is not known{nearest(name, options).replace('--', '')}"
    return message


def refuse_both_precisions(trainer: Mapping[str, Any]) -> None:
    """Refuse ``--precision auto`` next to a precision that was given, among the settings of the trainer.

    Raises:
        ExperimentError: naming both.
    """
    if trainer.get("precision"):
        raise ExperimentError("--precision auto chooses what --trainer.precision sets; give one or the other")


def add_sections(parser: ArgumentParser, *, without: frozenset[str] = frozenset()) -> None:
    """Give ``parser`` a flag for every field of every section, but those named ``without``."""
    for name in SECTIONS:
        add_section(parser, name, without)


def add_section(parser: ArgumentParser, name: str, without: frozenset[str] = frozenset()) -> None:
    """Give ``parser`` a flag for every field of a section, but those named ``without`` and the seed."""
    skip = {entry.name for entry in fields(SECTIONS[name])} & (without | {"seed"})
    parser.add_class_arguments(SECTIONS[name], name, skip=skip)


def validated_sections(values: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return ``{"model": ModelConfig, "data": DataConfig, …}``, all sections, from nested plain values.

    Raises:
        ExperimentError: for an unknown name or a value of the wrong type.
        ConfigurationError, DataError: for a value out of range.
    """
    for name in values:
        reject_unknown("section", name, SECTIONS)
    return {name: validated_section(name, values.get(name, {})) for name in SECTIONS}


_validated: dict[str, Any] = {}
"""Sections by the values that they were built from: most are the same in many conditions of a grid."""


def validated_section(name: str, values: Mapping[str, Any]) -> Any:
    """Return one section from plain values, checked once; it raises what :func:`validated_sections` raises."""
    key = repr((name, values))
    if key not in _validated:
        parser = section_parser(name)
        if isinstance(values.get("precision"), int):  # Lightning's 32 is a name
            values = {**values, "precision": str(values["precision"])}
        try:
            parsed = parser.parse_object({name: values})
        except ArgumentError as error:
            raise ExperimentError(str(error)) from None
        _validated[key] = parser.instantiate(parsed)[name]
    return deepcopy(_validated[key])


def checked_value(name: str, value: Any) -> Any:
    """Return a value to sweep or to tune, checked for its type alone: its range may depend on other values.

    Raises:
        ExperimentError: for an unknown name, a value of the wrong type, or a setting that decides no number.
    """
    if name.startswith("probes."):
        raise ExperimentError(f"{name} decides no number of a run: set it once, in the section probes")
    return _checked_value(name, json.dumps(value))


@cache
def _checked_value(name: str, value: str) -> Any:
    section = name.partition(".")[0]
    reject_unknown("section", section, SECTIONS)
    if section == name:
        raise ExperimentError(f"{name} is a section; name one of its settings, as in model.layers")
    group, _, option = name.rpartition(".")
    try:
        parsed = section_parser(section).parse_object(nest({name: json.loads(value)}))
        return parsed[group][option] if group == "model.scheme_options" else parsed[name]
    except ArgumentError as error:
        raise ExperimentError(str(error)) from None


@cache
def section_parser(name: str) -> StrictParser:
    """A parser of one section, built once. The nearest option to a mistake may be one of another section."""
    parser = StrictParser(exit_on_error=False, near=section_options())
    add_section(parser, name)
    return parser


@cache
def section_options() -> tuple[str, ...]:
    """Return the options of all sections, such as ``--model.layers``."""
    parser = StrictParser()
    add_sections(parser)
    return tuple(parser.option_names())


def given_options(parsed: Namespace) -> dict[str, dict[str, Any]]:
    """The options of all sections that the command line gave, as nested values."""
    return {name: parsed[name].as_dict() for name in SECTIONS if name in parsed and parsed[name] is not None}


def take_schemes(arguments: Sequence[str]) -> list[str]:
    """Execute the scheme files that a command line names, and return its other arguments.

    This comes before any parser, so that a variant of such a file is known wherever variants are checked. It also keeps
    configuration files from naming one.

    Raises:
        ExperimentError: the option has no value.
        ConfigurationError: a file cannot be read, fails, or registers no variant.
    """
    paths, rest = take_option(arguments, SCHEMES)
    for path in paths:
        if not path or path.startswith("--"):
            raise ExperimentError(f"{SCHEMES} needs a Python file, such as {SCHEMES} my_scheme.py")
        load_scheme_file(read_scheme_file(Path(path).expanduser()))
    return rest


def add_schemes_option(parser: ArgumentParser) -> None:
    """Show the option in a parser's help; a value that reaches the parser comes from a file and is refused."""
    parser.add_argument(
        SCHEMES,
        type=refuse_scheme_file,
        metavar="FILE.py",
        help="a Python file with schemes of your own; it is executed, so it is taken from the command line only",
    )


def refuse_scheme_file(value: str) -> NoReturn:
    """Refuse a scheme file that a configuration names.

    Raises:
        ValueError: always.
    """
    raise ValueError("a scheme file is named on the command line, in no configuration")
