"""Times that some runs never reach: medians, and paired ratios that do not pretend to know them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from experiments.statistics.seeds import PairedDifference


def median_steps(steps: Sequence[int | None]) -> int | None:
    """Return the median of the steps at which runs reached a target, where ``None`` means never.

    A run that never arrived counts as later than all others (right-censored), so the median exists exactly where at
    least half of the runs arrived. Of an even number of runs the lower middle one is taken.
    """
    if not steps:
        return None
    middle = statistics.median_low([math.inf if step is None else step for step in steps])
    return None if math.isinf(middle) else int(middle)


@dataclass(frozen=True)
class Time:
    """When a run reached a target."""

    value: float
    """Steps or tokens, at least 1; the budget where the target was never reached."""
    reached: bool
    """False where the time is censored at the budget: the true one is later, perhaps infinite."""


@dataclass(frozen=True)
class CensoredComparison:
    """Paired log₂ ratios of times and what censoring does to them."""

    ratios: PairedDifference
    """``log₂(slow side / fast side)`` per seed: 1 means that the fast side needs half the time."""
    only_fast_censored: int
    """Pairs in which only the side that is claimed to be faster never arrived: the true ratio is lower."""
    only_slow_censored: int
    """Pairs in which only the other side never arrived: the true ratio is higher."""
    both_censored: int
    """Pairs left out because neither side arrived, which says nothing about their order."""


def compare_times(fast: Mapping[int, Time], slow: Mapping[int, Time]) -> CensoredComparison:
    """Return ``log₂(slow / fast)`` by seed, with times that were not reached set to the budget.

    Where one side is censored, its true time is later than the budget, so its ratio is drawn towards zero: a difference
    is never overstated. The mean is then a lower bound where only the slow side is censored (fit to confirm, not to
    refute) and an upper bound where only the fast side is (fit to refute, not to confirm).

    Args:
        fast: time by seed of the side that is claimed to be faster.
        slow: time by seed of the other side.
    """
    seeds = sorted(fast.keys() & slow.keys())
    told = [seed for seed in seeds if fast[seed].reached or slow[seed].reached]
    ratios = tuple(math.log2(slow[seed].value / fast[seed].value) for seed in told)
    return CensoredComparison(
        ratios=PairedDifference(tuple(told), ratios),
        only_fast_censored=sum(not fast[seed].reached for seed in told),
        only_slow_censored=sum(not slow[seed].reached for seed in told),
        both_censored=len(seeds) - len(told),
    )
