"""Reading YAML so that ``1e-3`` is a number, as in Python."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from data_modules.errors import shortened, spelled
from experiments.errors import ExperimentError
from experiments.runs.run_folder import write_atomically


class NumberLoader(yaml.SafeLoader):
    """PyYAML's safe loader, except that ``1e-3`` is a number; YAML 1.1 takes it for text."""


NumberLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d[\d_]*)(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


LARGEST_FILE = 1_000_000
"""Bytes of the largest file of settings."""
DEEPEST, MOST_VALUES, LONGEST_NUMBER = 50, 100_000, 400
"""Bounds on settings: levels of nesting, values once aliases are replaced by what they name, digits of a number."""
UNSUSPICIOUS_LENGTH = 50
"""Most characters of a text that cannot be too deep or too large, aliases aside."""


class TooLarge(yaml.YAMLError):
    """YAML or JSON whose values would fill memory, or are nested beyond reason."""


def refuse_bombs(text: str) -> None:
    """Refuse YAML, or JSON, whose values are nested too deeply, are too many, or are numbers of too many digits.

    A few aliases of aliases name billions of values ("billion laughs"). They are counted without being built.

    Raises:
        TooLarge: naming the line and what is too large.
        yaml.YAMLError: it is no YAML.
    """
    if len(text) <= UNSUSPICIOUS_LENGTH and "*" not in text:
        return
    anchors: dict[str, int] = {}
    counts = [0]  # values within each open list or mapping
    names: list[str | None] = []
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.CollectionStartEvent):
            counts.append(1)
            names.append(event.anchor)
            if len(counts) > DEEPEST:
                raise TooLarge(f"line {line}: its values are nested more than {DEEPEST} deep")
            continue
        size = 0
        if isinstance(event, yaml.ScalarEvent):
            size = 1
            if event.implicit[0] and len(event.value) > LONGEST_NUMBER and event.value[:2].strip("+-").isdigit():
                raise TooLarge(f"line {line}: a number has {len(event.value):,} digits")
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in anchors:
                raise TooLarge(f"line {line}: *{event.anchor} names what it is part of, or nothing")
            size = anchors[event.anchor]
        elif isinstance(event, yaml.CollectionEndEvent):
            size = counts.pop()
        name = names.pop() if isinstance(event, yaml.CollectionEndEvent) else getattr(event, "anchor", None)
        if name and not isinstance(event, yaml.AliasEvent):
            anchors[name] = size
        counts[-1] += size
        if counts[-1] > MOST_VALUES:
            raise TooLarge(f"line {line}: it names more than {MOST_VALUES:,} values")


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file.

    Raises:
        ExperimentError: if the file cannot be read, is no YAML, or holds no mapping.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ExperimentError(f"{path} is larger than {LARGEST_FILE:,} bytes; is it a file of settings?")
        text = path.read_text(encoding="utf-8")
        refuse_bombs(text)
        content = yaml.load(text, Loader=NumberLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise ExperimentError(f"{path} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise ExperimentError(f"{path} is no valid YAML: {shortened(' '.join(str(error).split()), 400)}") from None
    except (ValueError, RecursionError) as error:  # an impossible date, a key that cannot be one
        if isinstance(error, ExperimentError):
            raise
        raise ExperimentError(f"{path} is no valid YAML: {shortened(' '.join(str(error).split()), 400)}") from None
    if not isinstance(content, dict):
        raise ExperimentError(f"{path} must hold a mapping of names to values")
    return content


def write_yaml(path: Path, content: dict[str, Any]) -> None:
    """Write a mapping as YAML, in its own order; a link in its place is replaced and not followed.

    Raises:
        RecordError: the file cannot be written.
    """
    write_atomically(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode())


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


def whole_number(name: str, value: Any, *, least: int = 1, most: int = 10_000) -> int:
    """Return a count, checked.

    Raises:
        ExperimentError: if it is not a whole number of at least ``least`` and at most ``most``.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        shown = spelled(value) if isinstance(value, int) else shortened(repr(value))
        bounds = f"at most {most:,}" if isinstance(value, int) and value > most else f"at least {least}"
        raise ExperimentError(f"{name} is {shown}; it must be a whole number of {bounds}")
    return value


def positive(name: str, value: Any) -> float:
    """Return a number above 0, checked.

    Raises:
        ExperimentError: if it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ExperimentError(f"{name} is {value!r}; it must be a number above 0, such as 0.01")
    return float(value)
