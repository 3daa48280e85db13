"""How far stacks collapse to rank one, and how fast."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

from pandas import DataFrame

LARGE, ROUNDING = 0.3, 1e-12
"""Distances between which the exponent is taken: above, the collapse has not begun; below, float64 rounds."""
RESOLVED = 1e-6
"""Distance from which an exponent of 2.5 leads to 1e-15, which is all that float64 resolves."""
EARLY = 4


def quantities(rows: DataFrame) -> dict[str, float | None]:
    """Return the distances and contractions of one seed; those of the second start have its name in front.

    ``<stack>_after_4`` and ``<stack>_after_<last>`` are distances from rank one, ``<stack>_least_exponent`` and
    ``<stack>_exponent_bound`` are the functions below, and ``post_ln_extra_contraction`` is the distance of Pre-LN
    after the last block divided by that of Post-LN.
    """
    found: dict[str, float | None] = {}
    for place, (start, of_start) in enumerate(rows.groupby("start", sort=False)):
        prefix = f"{str(start).lower()}_" if place else ""
        courses = {str(stack): list(part.rank_one_distance) for stack, part in of_start.groupby("stack")}
        for stack, distances in courses.items():
            last = len(distances) - 1
            found |= {f"{prefix}{stack}_after_{block}": distances[block] for block in {min(EARLY, last), last}}
            found[f"{prefix}{stack}_least_exponent"] = least_exponent(distances)
            found[f"{prefix}{stack}_exponent_bound"] = exponent_bound(distances)
        if {"post_ln", "pre_ln"} <= courses.keys():
            found[f"{prefix}post_ln_extra_contraction"] = courses["pre_ln"][-1] / courses["post_ln"][-1]
    return found


def least_exponent(distances: Sequence[float]) -> float | None:
    """Return the smallest ``ln r(l+1) / ln r(l)`` over blocks with r(l) < 0.3 and r(l+1) > 1e-12.

    A distance that falls as ``r(l+1) = r(l)^p`` falls doubly exponentially, ``r(l) = r(0)^(p^l)``. None where no block
    lies in the window.
    """
    pairs = itertools.pairwise(distances)
    return smallest_exponent((before, after) for before, after in pairs if before < LARGE and after > ROUNDING)


def exponent_bound(distances: Sequence[float]) -> float | None:
    """Return what the exponent is at least: the smallest ``ln r(l+1) / ln r(l)`` with 1e-6 < r(l) < 0.3.

    Where r(l+1) is rounding, about 2e-16, the true distance is smaller and the exponent larger; where it is exactly 0,
    nothing is bounded. None where no block lies in the window.
    """
    return smallest_exponent((before, after) for before, after in itertools.pairwise(distances)
                             if RESOLVED < before < LARGE and after > 0)  # fmt: skip


def smallest_exponent(pairs: Iterable[tuple[float, float]]) -> float | None:
    """Return the smallest ``ln after / ln before`` of the pairs of distances."""
    return min((math.log(after) / math.log(before) for before, after in pairs), default=None)
