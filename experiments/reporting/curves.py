"""Curves of several seeds brought together: their mean and their range at every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

FIRST_STEPS = 10
"""Optimiser steps that count as the start of training; later ones show what training did to the gradients."""


@dataclass(frozen=True)
class Band:
    """Mean, least and greatest value over seeds along an axis."""

    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def seed_band(histories: Sequence[dict[str, Any]], x: str, y: str) -> Band | None:
    """Join the curves of several seeds; at each x, over the seeds that have a value there. None without any value."""
    values: dict[float, list[float]] = {}
    for history in histories:
        for position, value in zip(history.get(x) or [], history.get(y) or [], strict=False):
            if value is not None:
                values.setdefault(position, []).append(value)
    return band_of(values)


def gradient_band(histories: Sequence[dict[str, Any]]) -> Band | None:
    """Return the gradient norm by block: the geometric mean over each seed's first steps, then over seeds.

    The x axis counts blocks from the embedding (0) to the head. Values that are zero or not finite are left out.
    """
    values: dict[float, list[float]] = {}
    for history in histories:
        by_block: dict[int, list[float]] = {}
        for norms in (history.get("blocks") or [])[: len(first_steps(history))]:
            for block, norm in enumerate(norms):
                if norm is not None and norm > 0:
                    by_block.setdefault(block, []).append(norm)
        for block, found in by_block.items():
            values.setdefault(block, []).append(geometric_mean(found))
    return band_of(values, geometric=True)


def first_steps(history: dict[str, Any]) -> list[int]:
    """Return the logged steps at the start of training; the first logged one where all are later."""
    steps = list(history.get("step") or [])
    return [step for step in steps if step <= FIRST_STEPS] or steps[:1]


def band_of(values: Mapping[float, Sequence[float]], *, geometric: bool = False) -> Band | None:
    """Return mean and range of the values at every x; None without any. A ``geometric`` mean needs values above 0."""
    if not values:
        return None
    mean = geometric_mean if geometric else np.mean
    x = sorted(values)
    columns = [(mean(values[at]), np.min(values[at]), np.max(values[at])) for at in x]
    means, low, high = (np.array(column) for column in zip(*columns, strict=True))
    return Band(np.array(x), means, low, high)


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean of values above 0."""
    return float(10 ** np.mean(np.log10(values)))
