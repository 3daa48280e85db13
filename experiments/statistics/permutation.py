"""Permutation tests of paired differences."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from experiments.statistics.finite import require_finite

RESAMPLES = 9_999


def sign_flip(differences: NDArray[np.float64], generator: np.random.Generator | None = None) -> float:
    """Two-sided p-value of the sign-flip permutation test of paired differences (Fisher 1935).

    If the sides were interchangeable, every difference could have had the other sign. The statistic is the absolute
    sum. Up to 9,999 sign patterns are all tried; of more, 9,999 random ones.

    Args:
        differences: (n,) paired differences of independent units.
        generator: source of the random sign patterns; seeded with 0 by default.

    Raises:
        ValueError: if a difference is NaN or infinite.
    """
    from scipy.stats import permutation_test

    require_finite(np.asarray(differences, dtype=float).tolist())
    if len(differences) < 2 or not np.any(differences):
        return 1.0  # either sign of a single difference is as far from zero
    result = permutation_test(
        (np.asarray(differences, dtype=float),),
        lambda sample, axis: np.abs(sample.sum(axis=axis)),
        permutation_type="samples",
        alternative="greater",
        n_resamples=RESAMPLES,
        batch=500,
        vectorized=True,
        rng=np.random.default_rng(0) if generator is None else generator,
    )
    return float(result.pvalue)
