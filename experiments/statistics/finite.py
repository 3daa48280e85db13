"""The guard of every statistic against NaN and infinity."""

from __future__ import annotations

import math
from collections.abc import Iterable


def require_finite(values: Iterable[float]) -> None:
    """Raise :class:`ValueError` if a value is not a finite number.

    A run without a score has None, or is left out. NaN or infinity in its place would silently spoil every interval and
    test.
    """
    broken = [value for value in values if not math.isfinite(value)]
    if broken:
        raise ValueError(f"statistics need finite numbers, not {broken[0]}; leave out runs without a score")
