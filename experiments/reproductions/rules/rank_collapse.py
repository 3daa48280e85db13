"""How far stacks collapse to rank one, and how fast."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from pandas import DataFrame

LARGE, ROUNDING = 0.3, 1e-12
"""Distances between which the exponent is taken: above, the collapse has not begun; below, float64 rounds."""
EARLY = 4


def quantities(rows: DataFrame) -> dict[str, float | None]:
    """Return the distances and contractions of one seed; those of the second start have its name in front.

    ``<stack>_after_4`` and ``<stack>_after_<last>`` are distances from rank one, ``<stack>_least_exponent`` is
    :func:`least_exponent`, and ``post_ln_extra_contraction`` the distance of Pre-LN after the last block divided by
    that of Post-LN.
    """
    found: dict[str, float | None] = {}
    for place, (start, of_start) in enumerate(rows.groupby("start", sort=False)):
        prefix = f"{str(start).lower()}_" if place else ""
        courses = {str(stack): list(part.rank_one_distance) for stack, part in of_start.groupby("stack")}
        for stack, distances in courses.items():
            last = len(distances) - 1
            found |= {f"{prefix}{stack}_after_{block}": distances[block] for block in {min(EARLY, last), last}}
            found[f"{prefix}{stack}_least_exponent"] = least_exponent(distances)
        if {"post_ln", "pre_ln"} <= courses.keys():
            found[f"{prefix}post_ln_extra_contraction"] = courses["pre_ln"][-1] / courses["post_ln"][-1]
    return found


def least_exponent(distances: Sequence[float]) -> float | None:
    """Return the smallest ``ln r(l+1) / ln r(l)`` over blocks with r(l) < 0.3 and r(l+1) > 1e-12.

    A distance that falls as ``r(l+1) = r(l)^p`` falls doubly exponentially, ``r(l) = r(0)^(p^l)``. None where no block
    lies in the window.
    """
    exponents = [
        math.log(later) / math.log(earlier)
        for earlier, later in itertools.pairwise(distances)
        if earlier < LARGE and later > ROUNDING
    ]
    return min(exponents, default=None)
