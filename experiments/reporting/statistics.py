"""Mean and spread over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Spread:
    """Mean of a few runs and how far it can be trusted; what is not defined is ``None``."""

    count: int
    mean: float | None = None
    sd: float | None = None
    """Sample standard deviation (n − 1 in the denominator)."""
    low: float | None = None
    """Lower end of the 95 % t-interval of the mean."""
    high: float | None = None
    """Upper end."""


def spread(values: Sequence[float]) -> Spread:
    """Return mean, standard deviation and 95 % t-interval over seeds.

    The interval is ``mean ± t(0.975, n − 1) · sd / √n`` (Student 1908): it assumes that seeds are independent and
    scores roughly normal. With one value there is a mean and no spread; with none there is neither.
    """
    count = len(values)
    if count == 0:
        return Spread(0)
    mean = statistics.fmean(values)
    if count == 1:
        return Spread(1, mean)
    sd = statistics.stdev(values)
    margin = t_quantile(count - 1) * sd / math.sqrt(count)
    return Spread(count, mean, sd, mean - margin, mean + margin)


def t_quantile(degrees_of_freedom: int) -> float:
    """Return the quantile of Student's t that leaves 2.5 % above it."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees_of_freedom, (1 + CONFIDENCE) / 2))


def median_steps(steps: Sequence[int | None]) -> int | None:
    """Return the median of the steps at which runs reached a target, where ``None`` means never.

    A run that never arrived counts as later than all others (right-censored), so the median exists exactly where at
    least half of the runs arrived. Of an even number of runs the lower middle one is taken.
    """
    if not steps:
        return None
    middle = statistics.median_low([math.inf if step is None else step for step in steps])
    return None if math.isinf(middle) else int(middle)
