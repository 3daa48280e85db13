"""Reading YAML so that ``1e-3`` is a number, as everywhere else in Python."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from experiments.errors import ExperimentError


class NumberLoader(yaml.SafeLoader):
    """PyYAML's safe loader, but ``1e-3`` is a number; YAML 1.1 takes it for text."""


NumberLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d[\d_]*)(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Raises:
        ExperimentError: if the file cannot be read, is no YAML, or holds no mapping.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=NumberLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise ExperimentError(f"{path} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise ExperimentError(f"{path} is no valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ExperimentError(f"{path} must hold a mapping of names to values")
    return content


def write_yaml(path: Path, content: dict[str, Any]) -> None:
    """Write a mapping as YAML, in its own order."""
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")


def mapping_of(content: Mapping[str, Any], key: str, where: str = "") -> dict[str, Any]:
    """The mapping under ``key``; an empty one if the key is missing.

    Raises:
        ExperimentError: if it is something else; ``where`` comes before the key in the message.
    """
    value = content.get(key)
    if value is not None and not isinstance(value, Mapping):
        raise ExperimentError(f"{where}{key} is {value!r}; it must be a mapping of names to values")
    return dict(value or {})


def values_of(content: Mapping[str, Any], key: str, where: str = "", *, optional: bool = False) -> list[Any]:
    """The list under ``key``.

    Raises:
        ExperimentError: if it is something else, or missing without being ``optional``.
    """
    value = content.get(key)
    if value is None and optional:
        return []
    if not isinstance(value, list | tuple) or not value:
        raise ExperimentError(f"{where}{key} is {value!r}; it must be a list of at least one value, such as [1, 2]")
    return list(value)


def whole_number(name: str, value: Any, *, least: int = 1) -> int:
    """Return a number of things, checked.

    Raises:
        ExperimentError: if it is not a whole number of at least ``least``.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ExperimentError(f"{name} is {value!r}; it must be a whole number of at least {least}")
    return value


def positive(name: str, value: Any) -> float:
    """Return a number above 0, checked.

    Raises:
        ExperimentError: if it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ExperimentError(f"{name} is {value!r}; it must be a number above 0, such as 0.01")
    return float(value)
