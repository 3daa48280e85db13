"""Runs that fail or not, on two sides: exact tests and intervals. A t-interval over seeds can have no width here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.statistics.multiplicity import Interval
from experiments.statistics.rows import mcnemar


@dataclass(frozen=True)
class PairedOutcomes:
    """Whether runs failed on each side of a comparison, run by run: the same seed and swept values."""

    favoured: tuple[bool, ...]
    """Of the side that is claimed to fail less often."""
    other: tuple[bool, ...]

    @property
    def p_value(self) -> float:
        """McNemar's exact test (McNemar 1947) over the pairs in which only one side failed."""
        pairs = list(zip(self.favoured, self.other, strict=True))
        return mcnemar(pairs.count((True, False)), pairs.count((False, True)))

    def interval(self, level: float) -> tuple[float, float]:
        """Interval for the other side's share of failures minus the favoured side's.

        Each share has its Clopper-Pearson interval (1934) at confidence ``1 - level/2``. The difference of their ends
        holds the true one at ``1 - level`` at least (Bonferroni). Runs of one seed at several swept values count as
        independent.
        """
        favoured, other = (clopper_pearson(side, level / 2) for side in (self.favoured, self.other))
        return other[0] - favoured[1], other[1] - favoured[0]

    def smallest_shown(self, level: float) -> float | None:
        """Smallest difference of the shares that the exact interval at ``level`` could set apart from 0.

        The other side keeps its failures, and the favoured side's fall one by one to none. None if the interval holds 0
        even then: such data can show no difference.
        """
        fails, runs = sum(self.other), len(self.favoured)
        for fewer in range(fails - 1, -1, -1):
            supposed = PairedOutcomes((True,) * fewer + (False,) * (runs - fewer), self.other)
            if supposed.interval(level)[0] > 0:
                return fails / len(self.other) - fewer / runs
        return None

    def widened(self, interval: Interval, level: float, strictest: float) -> Interval:
        """The wider of a t-interval over seeds and the exact one, end by end.

        If neither side fails, every seed has the difference zero and the t-interval has no width. Yet thirty runs
        without a failure leave room for a true share of a tenth.
        """
        low, high = self.interval(level)[0], self.interval(strictest)[1]
        return Interval(interval.mean, min(interval.low, low), max(interval.high, high))


def clopper_pearson(outcomes: Sequence[bool], level: float) -> tuple[float, float]:
    """Exact interval of a share at confidence ``1 - level``."""
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(sum(outcomes), len(outcomes), alpha=level, method="beta")
    return float(low), float(high)
