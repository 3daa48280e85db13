"""Runs that fail or not, on two sides: exact tests and intervals. A t-interval over seeds can have no width here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import median

import numpy as np
from numpy.typing import NDArray

from experiments.statistics.finite import require_finite

NUISANCES = 51
"""Values of the unknown share over which a p-value is the largest one."""
SET_ASIDE = 1 / 20
"""Share of a test's level that is spent to leave out implausible values of the unknown share."""
COARSE = 41
"""Differences that are tried before the ends are found between two of them."""
FINE = 20
"""Halvings between these: the ends are right to 1e-7."""
TIE = 1e-9
"""Two tables are equally extreme if their statistics differ by less than this."""


@dataclass(frozen=True)
class PairedOutcomes:
    """Whether runs failed on each side of a comparison, run by run: the same seed and swept values."""

    favoured: tuple[bool, ...]
    """Of the side that is claimed to fail less often."""
    other: tuple[bool, ...]

    def __post_init__(self) -> None:
        if not self.favoured or len(self.favoured) != len(self.other):
            raise ValueError(f"{len(self.favoured)} and {len(self.other)} outcomes make no pairs")

    def paired_interval(self, level: float) -> tuple[float, float]:
        """Exact interval for the other side's share of failures minus the favoured side's, at confidence ``1 - level``.

        It uses the pairs: see :func:`exact_difference`. A pair is a run of the same seed and swept values; runs of one
        seed at several swept values count as independent.
        """
        pairs = list(zip(self.favoured, self.other, strict=True))
        return exact_difference(pairs.count((False, True)), pairs.count((True, False)), len(pairs), level)


def clopper_pearson(outcomes: Sequence[bool], level: float) -> tuple[float, float]:
    """Exact interval of a share at confidence ``1 - level`` (Clopper & Pearson 1934).

    Raises:
        ValueError: without outcomes.
    """
    from scipy.special import betaincinv

    if not outcomes:
        raise ValueError("a share needs at least one outcome")
    hits, count = sum(outcomes), len(outcomes)
    low = float(betaincinv(hits, count - hits + 1, level / 2)) if hits else 0.0
    high = float(betaincinv(hits + 1, count - hits, 1 - level / 2)) if hits < count else 1.0
    return low, high


@dataclass(frozen=True)
class TrainedShare:
    """How many of some runs trained, and how those did; a mean over trained and failed runs hides this."""

    trained: int
    runs: int
    low: float
    """Lower end of the exact interval of the share."""
    high: float
    median: float | None
    """Of the scores of the runs that trained; None if none has a score."""


def trained_share(trained: Sequence[bool], scores: Sequence[float | None], level: float = 0.05) -> TrainedShare:
    """Return the share of runs that trained with its exact interval, and the median score of those that did.

    Args:
        trained: whether each run trained.
        scores: the score of each run; None for one without.
        level: 1 − confidence.

    Raises:
        ValueError: without runs, if the two differ in length, or a score is not a finite number.
    """
    known = [score for is_good, score in zip(trained, scores, strict=True) if is_good and score is not None]
    require_finite(known)
    low, high = clopper_pearson(trained, level)
    return TrainedShare(sum(trained), len(trained), low, high, median(known) if known else None)


@lru_cache(maxsize=1024)
def exact_difference(only_other: int, only_favoured: int, pairs: int, level: float) -> tuple[float, float]:
    """Exact unconditional interval for a difference of two shares in matched pairs, within [−1, 1].

    In each of n pairs only one side fails with chance p₁₂ (the other one) or p₂₁ (the favoured one); the difference is
    ``Δ = p₁₂ − p₂₁``. A Δ belongs to the interval if neither one-sided test of it at ``level/2`` rejects. These order
    all tables by Tango's score statistic (Tango 1998) and take the largest p-value over the unknown ``p₁₂ + p₂₁``. So
    whatever that sum is, the interval holds Δ with chance ``1 - level`` at least (Chan & Zhang 1999 do so for unpaired
    shares). Values outside the exact interval of that sum at confidence 1 − γ are left out. In return γ is added to the
    p-value, which stays valid (Berger & Boos 1994). If the set has a hole, its outermost ends are taken.

    Args:
        only_other: pairs in which only the other side failed.
        only_favoured: pairs in which only the favoured side failed.
        pairs: n, those in which both failed, or none, included.
        level: 1 − confidence.

    Raises:
        ValueError: if there are no pairs, or fewer than differ.
    """
    if not 0 < pairs >= only_other + only_favoured or min(only_other, only_favoured) < 0:
        raise ValueError(f"{only_other} and {only_favoured} of {pairs} pairs that differ are no counts")
    if not 0 < level < 1:
        raise ValueError(f"the level is {level}; it must lie between 0 and 1")
    high = _upper_end(only_other, only_favoured, pairs, level / 2)
    return -_upper_end(only_favoured, only_other, pairs, level / 2), high


def _upper_end(b: int, c: int, n: int, level: float) -> float:
    """Return the largest difference (b − c)/n whose p-value of seeing as small a statistic or smaller exceeds level."""
    gamma = SET_ASIDE * level
    discordant = clopper_pearson((True,) * (b + c) + (False,) * (n - b - c), gamma)

    def is_in(delta: float) -> bool:
        return _largest_chance(b, c, n, delta, discordant) + gamma > level

    tried = np.linspace((b - c) / n, 1, COARSE).tolist()
    last = max((place for place, delta in enumerate(tried[1:-1], 1) if is_in(delta)), default=0)
    inside, outside = tried[last], tried[last + 1]
    for _ in range(FINE):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if is_in(middle) else (inside, middle)
    return outside


def _largest_chance(b: int, c: int, n: int, delta: float, discordant: tuple[float, float]) -> float:
    """Return the largest chance of a table whose statistic is at most that of (b, c), if Δ is true.

    It is over the shares of discordant pairs, ``p₁₂ + p₂₁``, within two ends; 0 where Δ itself asks for a larger one.
    """
    least, most = max(discordant[0], abs(delta)), discordant[1]
    if least > most:
        return 0.0
    all_b, all_c, log_ways = _tables(n)
    observed = tango(np.array([b]), np.array([c]), n, delta)[0]
    extreme = tango(all_b, all_c, n, delta) <= observed + TIE
    shares = np.linspace(least, most, NUISANCES)
    powers = [
        _log_power(chance, count[extreme])
        for chance, count in (
            ((shares + delta) / 2, all_b),
            ((shares - delta) / 2, all_c),
            (1 - shares, n - all_b - all_c),
        )
    ]
    return float(np.exp(log_ways[extreme] + sum(powers)).sum(axis=1).max())


def tango(b: NDArray[np.int64], c: NDArray[np.int64], n: int, delta: float) -> NDArray[np.float64]:
    """Score statistic for ``p₁₂ − p₂₁ = Δ`` of tables with b and c discordant pairs of n (Tango 1998, equation 6).

    ``(b − c − n·Δ)/√(n·(2·q + Δ·(1 − Δ)))``, where q is the maximum-likelihood estimate of p₂₁ given Δ: the larger root
    of ``2n·q² + (−b − c + (2n − b + c)·Δ)·q − c·Δ·(1 − Δ) = 0``.
    """
    linear = -b - c + (2 * n - b + c) * delta
    q = (np.sqrt(np.maximum(linear**2 + 8 * n * c * delta * (1 - delta), 0)) - linear) / (4 * n)
    variance = n * (2 * q + delta * (1 - delta))
    apart = b - c - n * delta
    # Without variance a table is either just what Δ says or infinitely far from it.
    return np.where(np.abs(apart) < TIE, 0.0, apart / np.sqrt(np.maximum(variance, 1e-30)))


@lru_cache(maxsize=8)
def _tables(n: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return b and c of every table of n pairs, and the logarithm of the number of ways to get it."""
    from scipy.special import gammaln

    b, c = (part.ravel() for part in np.meshgrid(np.arange(n + 1), np.arange(n + 1)))
    possible = b + c <= n
    b, c = b[possible], c[possible]
    return b, c, gammaln(n + 1) - gammaln(b + 1) - gammaln(c + 1) - gammaln(n - b - c + 1)


def _log_power(chances: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return ``counts·log(chances)`` by chance and table; 0⁰ is 1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.maximum(chances, 0))[:, None]
        return np.where(counts == 0, 0.0, counts * logs)
