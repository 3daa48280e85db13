"""The error for mistakes a user can mend, and the helper that names the nearest valid choice."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from numbers import Integral, Real
from types import NoneType
from typing import Any, cast, get_args, get_type_hints


class ConfigurationError(ValueError):
    """A configuration of the model or its training is wrong; the message says what and how to mend it."""


class SpoiltWeights(ConfigurationError):
    """A checkpoint holds numbers that are not finite, so its answers would mean nothing."""


def nearest(value: str, choices: Iterable[str]) -> str:
    """Return a phrase such as ``; did you mean 'pre_ln'?`` for the nearest choice, or the list of choices."""
    choices = sorted(choices)
    close = get_close_matches(value, choices, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; choose one of: {', '.join(choices)}"


def reject_unknown(field: str, value: str, choices: Iterable[str]) -> None:
    """Raise :class:`ConfigurationError` with the nearest valid choice unless ``value`` is one of ``choices``."""
    choices = tuple(choices)
    if value not in choices:
        raise ConfigurationError(f"{field} is {value!r}, which is not known{nearest(value, choices)}")


LARGEST = 1_000_000_000
"""The largest whole number that a setting may have, unless a smaller one is stated."""


def check_numbers(prefix: str, config: Any, most: Mapping[str, int]) -> None:
    """Check every number of a configuration: its kind, that it is finite, and that it is not absurdly large.

    Numbers that are too large (of weights, rows, processes) would fill memory or never end. Numbers of numpy become
    Python's own.

    Args:
        prefix: what comes before a field's name in messages, such as ``model.``.
        config: a dataclass.
        most: the largest absolute value by field; ``LARGEST`` for other whole numbers.

    Raises:
        ConfigurationError: naming the field.
    """
    for name, (kind, optional) in _numeric_fields(cast(Hashable, type(config))).items():
        value = getattr(config, name)
        if value is None and optional:
            continue
        wanted = Integral if kind is int else Real
        if isinstance(value, bool) or not isinstance(value, wanted):
            what = "a whole number" if kind is int else "a number"
            raise ConfigurationError(f"{prefix}{name} is {shortened(repr(value))}; it must be {what}")
        limit: Any = most.get(name, LARGEST if kind is int else sys.float_info.max)
        number = value.item() if hasattr(value, "item") else value
        if not abs(number) <= limit:  # true of NaN as well
            raise ConfigurationError(f"{prefix}{name} is {spelled(value)}; it must be finite and at most {limit:,.15g}")
        if type(value) not in (int, float):
            object.__setattr__(config, name, kind(number))  # which a frozen one allows too


@cache
def _numeric_fields(config: Hashable) -> dict[str, tuple[type, bool]]:
    """Return the fields that hold one number: whether it is whole, and whether it may be missing."""
    found: dict[str, tuple[type, bool]] = {}
    for name, hint in get_type_hints(config).items():
        kinds = get_args(hint) or (hint,)
        numeric = [kind for kind in kinds if kind in (int, float)]
        if len(numeric) == 1 and len(kinds) <= 2 and set(kinds) <= {int, float, NoneType}:
            found[name] = numeric[0], NoneType in kinds
    return found


def spelled(number: Any) -> str:
    """Return a number as a message can show it; a number of very many digits is described."""
    if isinstance(number, int) and number.bit_length() > 200:
        return f"a number of about {int(number.bit_length() * 0.30103) + 1:,} digits"
    return str(number)


def shortened(text: str, length: int = 100) -> str:
    """Return a text for a message, cut in the middle if it is longer than ``length``."""
    return text if len(text) <= length else f"{text[: length // 2]}…{text[-length // 4 :]}"
