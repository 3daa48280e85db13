"""Times to a target that some runs never reach: medians, and paired ratios that bound the unknown."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiments.statistics.seeds import PairedDifference


def median_steps(steps: Sequence[int | None]) -> int | None:
    """Median of the steps at which runs reached a target; ``None`` means never.

    A run that never arrived counts as later than all others (right-censored). The median exists if at least half of
    the runs arrived. An even number of runs takes the lower middle one.
    """
    if not steps:
        return None
    middle = statistics.median_low([math.inf if step is None else step for step in steps])
    return None if math.isinf(middle) else int(middle)


@dataclass(frozen=True)
class Time:
    """When a run reached a target."""

    value: float
    """Steps or tokens, above 0; the budget if the target was never reached."""
    reached: bool
    """False if the time is censored at the budget: the true one is later, perhaps infinite."""
    at_first_look: bool = False
    """True if the first measurement was beyond the target already: the true time is that or earlier."""

    def __post_init__(self) -> None:
        if not 0 < self.value < math.inf:
            raise ValueError(f"a time is {self.value}; ratios need finite ones above 0")


@dataclass(frozen=True)
class CensoredComparison:
    """Paired log₂ ratios of times and what censoring does to them."""

    ratios: PairedDifference
    """``log₂(slow side / fast side)`` per seed: 1 means that the fast side needs half the time."""
    upper_bounds: int
    """Pairs whose true ratio may be lower: the fast side never arrived, or the slow one before the first look."""
    lower_bounds: int
    """Pairs whose true ratio may be higher: the slow side never arrived, or the fast one before the first look."""
    untold: int
    """Pairs left out because both never arrived, or both before the first look: their order is not known."""


def compare_times(fast: Mapping[int, Time], slow: Mapping[int, Time]) -> CensoredComparison:
    """``log₂(slow / fast)`` by seed, with the budget in place of times that were not reached.

    A time censored at the budget is later in truth, and a target passed before the first look was reached earlier. Both
    draw the ratio towards zero, so no difference is overstated. The mean is a lower bound if only the slow side is late
    or only the fast side early. Such a bound can confirm but not refute. In the opposite case the mean is an upper
    bound, which can refute but not confirm.

    Args:
        fast: time by seed of the side that is claimed to be faster.
        slow: time by seed of the other side.
    """
    seeds = sorted(fast.keys() & slow.keys())
    told = [seed for seed in seeds if _has_an_order(fast[seed], slow[seed])]
    ratios = tuple(math.log2(slow[seed].value / fast[seed].value) for seed in told)
    return CensoredComparison(
        ratios=PairedDifference(tuple(told), ratios),
        upper_bounds=sum(not fast[seed].reached or slow[seed].at_first_look for seed in told),
        lower_bounds=sum(not slow[seed].reached or fast[seed].at_first_look for seed in told),
        untold=len(seeds) - len(told),
    )


def _has_an_order(first: Time, second: Time) -> bool:
    return (first.reached or second.reached) and not (first.at_first_look and second.at_first_look)
