"""The word for an effect: helps, harms, no difference that matters, or not settled; and the chance of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, Protocol, get_args

import numpy as np

from experiments.statistics.components import MeanEstimate
from experiments.statistics.multiplicity import holm
from experiments.statistics.pooling import MOST_WITHOUT_WORD, PooledEffect
from experiments.statistics.seeds import CONFIDENCE, t_quantile

Word = Literal["helps", "harms", "no difference that matters", "not settled"]
WORDS: tuple[Word, ...] = get_args(Word)
DELTA = 0.01
"""Smallest difference in macro F1 that matters, unless a grid says otherwise."""
EQUIVALENCE = 0.9
"""Confidence of the interval that must lie inside ±δ: two one-sided tests at 5 % each (Schuirmann 1987)."""
BOTH_DEAD = "both dead"
POWER_AT = (1, 2, 5)
"""Multiples of δ at which power is printed."""
NODES = 400
"""Points of the quadrature over the sample's standard deviation."""


class HasInterval(Protocol):
    """An effect that knows its interval at any confidence."""

    @property
    def mean(self) -> float:
        """The effect."""
        ...

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float] | None:
        """Return its ends; None if no spread is known."""
        ...


def word_for(effect: HasInterval | None, delta: float, *, higher_is_better: bool = True) -> Word:
    """Return the word for an effect.

    **helps** or **harms**: the 95 % interval excludes 0 and does not lie inside ±δ. **no difference that matters**: the
    90 % interval lies inside ±δ. **not settled** otherwise, and without an interval. The rules are read in this order.
    An interval that touches 0 does not exclude it, and one that touches δ does not lie inside.

    Args:
        effect: a difference; None if there are too few seeds.
        delta: smallest difference that matters, in the effect's unit.
        higher_is_better: whether a positive effect is an improvement.

    Raises:
        ValueError: if delta is not a positive number.
    """
    check_delta(delta)
    wide = effect.interval(CONFIDENCE) if effect else None
    narrow = effect.interval(EQUIVALENCE) if effect else None
    if wide is None or narrow is None:
        return "not settled"
    if (wide[0] > 0 or wide[1] < 0) and not _inside(wide, delta):
        return "helps" if (wide[0] > 0) == higher_is_better else "harms"
    return "no difference that matters" if _inside(narrow, delta) else "not settled"


def pooled_word(effect: PooledEffect | None, delta: float, *, higher_is_better: bool = True) -> Word | None:
    """Return the word for a pooled effect; None for at most three sources."""
    if effect is None or effect.count <= MOST_WITHOUT_WORD:
        return None
    return word_for(effect, delta, higher_is_better=higher_is_better)


def _inside(interval: tuple[float, float], delta: float) -> bool:
    return -delta < interval[0] and interval[1] < delta


def holds_in_family(effects: Sequence[MeanEstimate | PooledEffect | None]) -> list[bool]:
    """Tell of each effect whether Holm's procedure at 5 % over all of them sets it apart from 0.

    A word speaks of one effect alone. Of twenty effects that are 0, one *helps* or *harms* by chance. Where nothing is
    true, the chance that any of a family holds is at most 5 %.
    """
    return [adjusted.rejected for adjusted in holm([effect.p_value if effect else None for effect in effects])]


@dataclass(frozen=True)
class Endings:
    """How the runs of one side ended."""

    trained: int
    runs: int

    @property
    def is_dead(self) -> bool:
        """Whether no run trained."""
        return self.trained == 0

    @property
    def all_trained(self) -> bool:
        """Whether every run trained."""
        return self.trained == self.runs


def said_of(
    effect: HasInterval | None, delta: float, first: Endings, second: Endings, *, higher_is_better: bool = True
) -> str:
    """Return the word for a comparison, or what can be said in spite of failures.

    Two dead sides have no effect and no word: they differ only in the class that each one answers. If some runs of a
    side failed, a mean over trained and failed ones describes neither; then the shares that trained take its place.
    """
    if first.is_dead and second.is_dead:
        return BOTH_DEAD
    if not (first.all_trained and second.all_trained):
        return f"trained {first.trained} of {first.runs} against {second.trained} of {second.runs}"
    return word_for(effect, delta, higher_is_better=higher_is_better)


def check_delta(delta: float) -> None:
    """Raise :class:`ValueError` unless delta, the smallest difference that matters, is a positive number."""
    if not 0 < delta < math.inf:
        raise ValueError(f"delta is {delta}; it must be a positive number")


@cache
def nodes() -> tuple[np.ndarray, np.ndarray]:
    """Places in [−1, 1] and weights of the quadrature."""
    places, weights = np.polynomial.legendre.leggauss(NODES)
    return places, weights


def chances(effect: float, se: float, degrees: float, delta: float) -> dict[Word, float]:
    """Return the chance of every word if the true effect is ``effect``.

    The estimate is normal with standard error ``se``, which is estimated with ``degrees`` degrees of freedom: its
    square over the true one is χ²/degrees. A Gauss-Legendre quadrature integrates over the quantiles of that.

    Args:
        effect: true effect; positive helps.
        se: standard error.
        degrees: of freedom of the standard error.
        delta: smallest difference that matters.

    Raises:
        ValueError: if delta or the standard error is not a positive number.
    """
    from scipy.special import chdtri, ndtr

    check_delta(delta)
    if not 0 < se < math.inf or not 0 < degrees < math.inf:
        raise ValueError(f"a standard error of {se} with {degrees} degrees of freedom gives no chance of a word")
    places, weights = nodes()
    measured = se * np.sqrt(chdtri(degrees, (1 - places) / 2) / degrees)
    wide, narrow = (t_quantile(degrees, confidence) * measured for confidence in (CONFIDENCE, EQUIVALENCE))

    def below(value: np.ndarray) -> np.ndarray:
        return ndtr((value - effect) / se)

    least = np.maximum(wide, delta - wide)  # an interval above 0 that reaches δ
    helps, harms = 1 - below(least), below(-least)
    # Without the estimates close enough to ±δ for the 90 % interval yet far enough from 0 for the first rule.
    reach = np.minimum(np.maximum(delta - narrow, 0), least)
    nothing = below(reach) - below(-reach)
    found = [float(weights @ share / 2) for share in (helps, harms, nothing)]
    return dict(zip(WORDS, [*found, max(0.0, 1 - sum(found))], strict=True))


@dataclass(frozen=True)
class WordPower:
    """What the measured spread can show."""

    helps: Mapping[int, float]
    """Chance of *helps* by the true effect in multiples of δ; as large for *harms* on the other side."""
    no_difference: float
    """Chance of *no difference that matters* if the true effect is 0."""


def word_power(estimate: MeanEstimate | PooledEffect | None, delta: float) -> WordPower | None:
    """Return the chances of the words at δ, 2δ and 5δ, and of no difference, under a measured spread.

    None if no spread is known.
    """
    check_delta(delta)
    if estimate is None or estimate.se == 0:
        return None
    degrees = estimate.degrees
    if isinstance(estimate, MeanEstimate):  # whose interval is never narrower than that of seeds alone
        alone = t_quantile(estimate.seed_degrees) * math.sqrt(estimate.seed_variance)
        degrees = estimate.seed_degrees if alone > t_quantile(degrees) * estimate.se else degrees
    helps = {times: chances(times * delta, estimate.se, degrees, delta)["helps"] for times in POWER_AT}
    nothing = chances(0.0, estimate.se, degrees, delta)["no difference that matters"]
    return WordPower(helps, nothing)
