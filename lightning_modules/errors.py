"""The error for mistakes a user can mend, and the helper that names the nearest valid choice."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class ConfigurationError(ValueError):
    """A configuration of the model or its training is wrong; the message says what and how to mend it."""


class SpoiltWeights(ConfigurationError):
    """A checkpoint holds numbers that are not finite, so whatever it answered would mean nothing."""


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
