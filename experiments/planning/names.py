"""Nested values and their dotted names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from data_modules.errors import nearest
from experiments.errors import ExperimentError


def reject_unknown(what: str, value: str, choices: Iterable[str]) -> None:
    """Raise :class:`ExperimentError` with the nearest valid choice unless ``value`` is one of ``choices``."""
    choices = tuple(choices)
    if value not in choices:
        raise ExperimentError(f"{what} {value!r} is not known{nearest(value, choices)}")


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested values in which later layers win; mappings merge, everything else replaces."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            if isinstance(value, Mapping):
                merged[key] = merge(merged.get(key) or {}, value)
            else:
                merged[key] = deepcopy(value)
    return merged


def flatten(nested: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return the dotted names and values of nested values."""
    pairs: list[tuple[str, Any]] = []
    for key, value in nested.items():
        name = f"{prefix}{key}"
        pairs += flatten(value, f"{name}.") if isinstance(value, Mapping) else [(name, value)]
    return pairs


def nest(dotted: Mapping[str, Any]) -> dict[str, Any]:
    """Turn ``{"model.layers": 6}`` into ``{"model": {"layers": 6}}``."""
    nested: dict[str, Any] = {}
    for name, value in dotted.items():
        *sections, last = name.split(".")
        target = nested
        for section in sections:
            target = target.setdefault(section, {})
        target[last] = value
    return nested
