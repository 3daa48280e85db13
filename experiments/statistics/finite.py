"""The guard of every statistic: numbers that are none."""

from __future__ import annotations

import math
from collections.abc import Iterable


def require_finite(values: Iterable[float]) -> None:
    """Raise :class:`ValueError` where a value is not a finite number.

    A run without a score has none (None, or it is left out). NaN or infinity in its place would spoil every interval
    and test without a word.
    """
    broken = [value for value in values if not math.isfinite(value)]
    if broken:
        raise ValueError(f"statistics need finite numbers, not {broken[0]}; leave out runs without a score")
