"""JSON with one spelling per value, and dataclasses read back strictly from it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from data_modules.errors import nearest
from experiments.errors import RecordError

LONG_NUMBER = re.compile(r"\d{20}")
DEEPEST, WIDEST_INTEGER = 50, 64
"""Levels of nesting, and bits of a whole number, that a record may have."""


def canonical_json(value: Any) -> str:
    """Write JSON with sorted keys, no white space and the shortest float digits that read back as the same number.

    Raises:
        RecordError: for a number that is not finite, naming its place.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except ValueError:
        place = _first_non_finite(value) or "the value"
        raise RecordError(f"{place} is not a finite number; write null for what a run does not have") from None


def finite_or_none(value: Any) -> Any:
    """Return nested plain values with every number that is not finite replaced by ``None``."""
    if isinstance(value, Mapping):
        return {key: finite_or_none(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_none(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def five_digits(value: Any) -> Any:
    """Return nested plain values with every fraction at five significant digits, which is enough for a curve."""
    if isinstance(value, Mapping):
        return {key: five_digits(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [five_digits(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def parse_json(text: str) -> Any:
    """Return the value of JSON text.

    Raises:
        RecordError: if the text is malformed, truncated or holds NaN or infinity.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise RecordError(f"it is not complete JSON ({error.msg} at line {error.lineno})") from None
    except RecursionError:
        raise RecordError("its values are nested too deeply") from None
    except RecordError:
        raise
    except ValueError:  # Python reads no number of more than 4,300 digits
        raise RecordError("it holds a number of thousands of digits") from None
    try:
        json.dumps(value, allow_nan=False)  # the quickest search there is for 1e999, which reads as infinity
    except RecursionError:
        raise RecordError("its values are nested too deeply") from None
    except ValueError:
        raise RecordError(f"{_first_non_finite(value)} is not a finite number") from None
    if LONG_NUMBER.search(text) and (place := _first_non_finite(value)) is not None:
        raise RecordError(f"{place} is not a finite number")
    return value


def decode(kind: Any, value: Any, place: str = "") -> Any:
    """Check ``value`` against the type ``kind``; if the type names dataclasses, mappings are turned into them.

    This is how records, measurements and claim files are read; sections of configurations are read by jsonargparse.

    Args:
        kind: a plain type, a dataclass, or a list, tuple, mapping or union of them.
        value: plain nested values; a value that is of the dataclass already stays.
        place: comes before the names of fields in messages.

    Raises:
        RecordError: naming the field that is missing, of another type, or unknown, then with the nearest one.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if is_dataclass(kind) and isinstance(kind, type):
        return value if isinstance(value, kind) else _decode_dataclass(kind, value, place)
    if origin in (Union, UnionType):
        if value is None and NoneType in arguments:
            return None
        options = [option for option in arguments if option is not NoneType]
        if len(options) == 1:
            return decode(options[0], value, place)
        if not any(_is_plain(option, value) for option in options):
            _refuse(place, value)
        return value
    if origin is Literal:
        if value not in arguments:
            _refuse(place, value, nearest(str(value), map(str, arguments)))
        return value
    if origin in (list, tuple) and isinstance(value, list):
        return origin(decode(arguments[0], item, f"{place}[{index}]") for index, item in enumerate(value))
    if origin in (dict, Mapping) and isinstance(value, dict):
        return {key: decode(arguments[1], item, f"{place}.{key}") for key, item in value.items()}
    if not _is_plain(kind, value):
        _refuse(place, value)
    return value


def _decode_dataclass(kind: Any, value: Any, place: str) -> Any:
    if not isinstance(value, dict):
        _refuse(place, value)
    hints, known = _fields_of(kind)
    prefix = f"{place}." if place else ""
    for name in sorted(map(str, value.keys() - known.keys())):
        raise RecordError(f"field {prefix}{name} is not known{nearest(name, known)}")
    for name, entry in known.items():
        if name not in value and entry.default is MISSING and entry.default_factory is MISSING:
            raise RecordError(f"field {prefix}{name} is missing")
    return kind(**{name: decode(hints[name], item, f"{prefix}{name}") for name, item in value.items()})


@cache
def _fields_of(kind: Any) -> tuple[dict[str, Any], dict[str, Field[Any]]]:
    """Look up the types and the fields of a dataclass, once: a file may hold hundreds of records."""
    return get_type_hints(kind), {entry.name: entry for entry in fields(kind)}


def _is_plain(kind: Any, value: Any) -> bool:
    """Tell whether ``value`` is of the plain type ``kind``; a whole number counts as a float, a truth value not."""
    if kind is Any:
        return True
    if isinstance(value, bool):
        return kind is bool
    if kind is float:
        return isinstance(value, int | float)
    return isinstance(kind, type) and isinstance(value, kind)


def _refuse(place: str, value: Any, instead: str = "") -> NoReturn:
    raise RecordError(f"field {place or 'record'} holds {repr(value)[:60]}, which is not what belongs there{instead}")


def _refuse_constant(name: str) -> NoReturn:
    raise RecordError(f"it holds {name}, which is not a finite number")


def _first_non_finite(value: Any, place: str = "", depth: int = 0) -> str | None:
    """The place of the first number that is not finite, or too large to count anything; ``None`` if all are finite.

    Raises:
        RecordError: the values are nested more than ``DEEPEST`` deep.
    """
    if isinstance(value, float):
        return None if math.isfinite(value) else place
    if isinstance(value, int):
        return None if value.bit_length() <= WIDEST_INTEGER else place
    if depth > DEEPEST:
        raise RecordError("its values are nested too deeply")
    if isinstance(value, Mapping):
        items = [(f"{place}.{key}" if place else str(key), item) for key, item in value.items()]
    elif isinstance(value, list | tuple):
        items = [(f"{place}[{index}]", item) for index, item in enumerate(value)]
    else:
        return None
    found = (_first_non_finite(item, name, depth + 1) for name, item in items)
    return next((spoilt for spoilt in found if spoilt is not None), None)
