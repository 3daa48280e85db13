"""Straight lines through a few points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def log_log_slope(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Return the least-squares slope of ln y against ln x, the exponent of a power law; none where a value is not
    positive."""
    if not (np.greater(x, 0).all() and np.greater(y, 0).all()):
        return None
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def linearity(y: Sequence[float]) -> float:
    """Return R² of a straight line through equally spaced values: the squared correlation with their index."""
    return float(np.corrcoef(np.arange(len(y)), y)[0, 1] ** 2)
