"""How sure a mean over seeds is, given the seeds *and* the rows of the test split: two components of variance.

A t-interval over seeds takes the test split for the whole world. On ``docstrings`` its files add up to 2.6 times the
seeds' error. Here every score is computed again on resampled groups of test rows. All conditions share these groups, so
that a difference is always paired by rows, whatever its seeds are.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiments.statistics.finite import require_finite
from experiments.statistics.rows import Labels, Metric
from experiments.statistics.seeds import (
    CONFIDENCE,
    FEWEST_PAIRS,
    paired_difference,
    t_quantile,
    two_sided,
)

RESAMPLES = 1_000
"""Resampled splits: the standard error that comes of them is then itself uncertain by 2 %."""
SPLITS_AT_ONCE, COLUMNS_AT_ONCE = 10, 512
"""Sizes of a batch, which bound the memory."""
SEEDS_ONLY = "seeds only"
UNSCORED = -1
"""Answer to a row that a run did not score."""
Run = TypeVar("Run", bound=Hashable)


@dataclass(frozen=True)
class MeanEstimate:
    """A mean, or a difference of two, with the variance that seeds and test rows give it."""

    mean: float
    count: int
    """Seeds; for a difference, pairs of seeds."""
    seed_variance: float
    """Variance s²/n over seeds, or over paired differences."""
    seed_degrees: float
    """Degrees of freedom n − 1, or Welch's if two sides share no seed."""
    row_variance: float | None = None
    """Variance of the mean over seeds when groups of test rows are resampled; None if it is not known."""
    units: int = 0
    """Number of groups of test rows, or of rows without groups; 0 if they are not known."""
    unit: str = "row"
    """What is resampled: ``row``, ``file``, ``group``."""

    def __post_init__(self) -> None:
        require_finite((self.mean, self.seed_variance, self.seed_degrees, self.row_variance or 0.0))

    @property
    def covers(self) -> str:
        """What the interval covers: ``seeds and test rows``, ``seeds and test files`` or ``seeds only``."""
        return SEEDS_ONLY if self.row_variance is None else f"seeds and test {self.unit}s"

    @property
    def variance(self) -> float:
        """Both components together.

        The joint variance of seeds and rows, σ²/(n·G) for n seeds and G groups, is in both components. So the sum errs
        towards a wider interval by that much (Cameron, Gelbach & Miller 2011 subtract it once).
        """
        return self.seed_variance + (self.row_variance or 0.0)

    @property
    def se(self) -> float:
        """Standard error of the mean."""
        return math.sqrt(self.variance)

    @property
    def degrees(self) -> float:
        """Degrees of freedom of the sum of both components (Satterthwaite 1946).

        ``(V_s + V_g)² / (V_s²/d_s + V_g²/(G − 1))``. The bootstrap's variance of a mean over G groups rests on G − 1
        contrasts of groups. So it has G − 1 degrees (Cameron & Miller 2015, section VI).
        """
        if not self.row_variance:
            return self.seed_degrees
        parts = self.seed_variance**2 / self.seed_degrees + self.row_variance**2 / (self.units - 1)
        return self.variance**2 / parts

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float] | None:
        """``mean ± t((1 + confidence)/2, degrees)·se``, and never narrower than that of seeds alone.

        Satterthwaite's degrees are too many if a few seeds make up most of the variance: with three seeds and four
        fifths of it, a 95 % interval holds the truth in 92.5 %. The wider of both holds it in 95 % whatever the shares.
        None if nothing varies, since then no spread is known.
        """
        if self.variance == 0:
            return None
        margin = max(t_quantile(degrees, confidence) * se for se, degrees in self._sources)
        return self.mean - margin, self.mean + margin

    @property
    def _sources(self) -> tuple[tuple[float, float], ...]:
        """Standard error and degrees of freedom of seeds and rows together, and of seeds alone."""
        return (self.se, self.degrees), (math.sqrt(self.seed_variance), self.seed_degrees)

    @property
    def p_value(self) -> float | None:
        """Two-sided p-value of a true value of 0, which matches the interval; None if nothing varies."""
        found = [two_sided(self.mean, se, degrees) for se, degrees in self._sources]
        return max((p_value for p_value in found if p_value is not None), default=None)


@dataclass(frozen=True)
class SeedScores:
    """Scores of one condition by seed, with what they would be on resampled test rows."""

    scores: Mapping[int, float]
    """By seed, of the runs that have one."""
    replicas: Mapping[int, NDArray[np.float64]]
    """(B,) scores on the resampled splits by seed; all conditions share the splits. Seeds may lack them."""
    units: int = 0
    unit: str = "row"

    def mean(self) -> MeanEstimate | None:
        """Return the mean over seeds; None for fewer than two."""
        values = list(self.scores.values())
        if len(values) < FEWEST_PAIRS:
            return None
        return self._estimate(float(np.mean(values)), len(values), *_spread(values), self._replica(self.scores))

    def minus(self, other: SeedScores) -> MeanEstimate | None:
        """Return this condition minus another on the same split; None if a side has one seed or they share just one.

        The sides are always paired by test rows. If they share two seeds or more, these are paired too, and others are
        left out. Sides that share none are independent: ``s₁²/n₁ + s₂²/n₂``, with Welch's degrees (Welch 1947).
        """
        paired = paired_difference(self.scores, other.scores)
        if paired.count >= FEWEST_PAIRS:
            replica = _difference(self._replica(paired.seeds), other._replica(paired.seeds))
            values = list(paired.values)
            return self._estimate(float(np.mean(values)), len(values), *_spread(values), replica)
        sides = [list(side.scores.values()) for side in (self, other)]
        if paired.count or min(map(len, sides)) < FEWEST_PAIRS:
            return None
        (first, d1), (second, d2) = map(_spread, sides)
        both = first + second
        degrees = both**2 / (first**2 / d1 + second**2 / d2) if both else d1 + d2
        replica = _difference(self._replica(self.scores), other._replica(other.scores))
        mean = float(np.mean(sides[0]) - np.mean(sides[1]))
        return self._estimate(mean, min(map(len, sides)), both, degrees, replica)

    def _replica(self, seeds: Collection[int]) -> NDArray[np.float64] | None:
        """Return the mean over seeds on every resampled split, (B,); None if a seed lacks it."""
        if self.units < 2 or any(seed not in self.replicas for seed in seeds):
            return None
        return np.mean([self.replicas[seed] for seed in seeds], axis=0)

    def _estimate(
        self, mean: float, count: int, variance: float, degrees: float, replica: NDArray[np.float64] | None
    ) -> MeanEstimate:
        if replica is None:
            return MeanEstimate(mean, count, variance, degrees)
        # With G groups a bootstrap holds (G − 1)/G of the variance of their mean (Davison & Hinkley 1997, 2.3).
        rows = float(np.var(replica, ddof=1)) * self.units / (self.units - 1)
        return MeanEstimate(mean, count, variance, degrees, rows, self.units, self.unit)


def _spread(values: list[float]) -> tuple[float, float]:
    """Return s²/n and n − 1; exactly 0 if all values are equal.

    Raises:
        ValueError: if a value is not a finite number.
    """
    require_finite(values)
    variance = float(np.var(values, ddof=1)) / len(values) if len(set(values)) > 1 else 0.0
    return variance, len(values) - 1


def _difference(first: NDArray[np.float64] | None, second: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    return None if first is None or second is None else first - second


class ResampledSplit:
    """One test split and B bootstrap copies of it, by group; without groups each row is its own.

    Args:
        labels: (N,) true classes, 0 … K − 1.
        groups: (N,) anything that tells groups apart; None if rows are independent.
        group: what a group is called, such as ``file``.
        resamples: B.

    Raises:
        ValueError: without rows, or if the two differ in length.
    """

    def __init__(
        self,
        labels: Labels,
        groups: pd.Series | NDArray | None = None,
        *,
        group: str = "group",
        resamples: int = RESAMPLES,
    ) -> None:
        if len(labels) == 0 or (groups is not None and len(groups) != len(labels)):
            raise ValueError(f"{len(labels)} labels and {'no' if groups is None else len(groups)} groups make no split")
        self.labels = np.asarray(labels, dtype=np.int64)
        self.unit = "row" if groups is None else group
        self._unit_of_row = np.arange(len(labels)) if groups is None else pd.factorize(np.asarray(groups))[0]
        if (self._unit_of_row < 0).any():
            raise ValueError("some rows have a group and others have none")
        self.units = int(self._unit_of_row.max()) + 1
        self.resamples = resamples
        self._times: NDArray[np.float32] | None = None

    @property
    def times(self) -> NDArray[np.float32]:
        """(B, G) how often each group is in each resampled split; always the same ones."""
        if self._times is None:
            generator, found = np.random.default_rng(0), []
            for start in range(0, self.resamples, SPLITS_AT_ONCE):
                count = min(SPLITS_AT_ONCE, self.resamples - start)
                drawn = generator.integers(0, self.units, (count, self.units))
                flat = (drawn + self.units * np.arange(count)[:, None]).ravel()
                found.append(np.bincount(flat, minlength=count * self.units).reshape(count, -1).astype(np.float32))
            self._times = np.concatenate(found)
        return self._times

    def score(self, answers: Mapping[int, Labels], metric: Metric) -> SeedScores:
        """Score a condition's answers by seed, (N,) predicted classes each, −1 for a row that was not scored."""
        scores, replicas = self.replicas(answers, {"": metric})[""]
        return SeedScores(scores, replicas, self.units, self.unit)

    def replicas(
        self, answers: Mapping[Run, Labels], metrics: Mapping[str, Metric]
    ) -> dict[str, tuple[dict[Run, float], dict[Run, NDArray[np.float64]]]]:
        """Score many runs by several metrics at once.

        Returns:
            By metric, the score of every run, and its (B,) scores on the resampled splits.

        Raises:
            ValueError: where answers have another length, or are no classes.
        """
        found: dict[str, tuple[dict[Run, float], dict[Run, NDArray[np.float64]]]]
        found = {name: ({}, {}) for name in metrics}
        keys = list(answers)
        if not keys:
            return found
        classes = 1 + max(int(self.labels.max()), *(int(answer.max()) for answer in answers.values()))
        at_once = max(1, COLUMNS_AT_ONCE // (3 * classes))
        for start in range(0, len(keys), at_once):
            batch = keys[start : start + at_once]
            counts = np.stack([self._counts(np.asarray(answers[key]), classes) for key in batch], axis=1)
            # Sums of whole numbers below 2²⁴ are exact in single precision, in any order.
            drawn = (self.times @ counts.reshape(self.units, -1)).reshape(self.resamples, len(batch), 3, classes)
            for name, metric in metrics.items():
                whole, resampled = metric(counts.sum(axis=0, dtype=float)), metric(drawn.astype(float))
                found[name][0].update(zip(batch, whole.tolist(), strict=True))
                found[name][1].update(zip(batch, resampled.T, strict=True))
        return found

    def _counts(self, answers: Labels, classes: int) -> NDArray[np.float32]:
        """Right, true and predicted rows by group and class, (G, 3, K)."""
        if answers.shape != self.labels.shape or answers.min() < UNSCORED:
            raise ValueError(f"{len(answers)} answers do not fit {len(self.labels)} rows of classes from 0")
        scored = answers != UNSCORED
        unit, label, answer = self._unit_of_row[scored], self.labels[scored], answers[scored]
        right = label == answer
        places = [(unit[right], label[right]), (unit, label), (unit, answer)]
        parts = [np.bincount(u * classes + k, minlength=self.units * classes) for u, k in places]
        return np.stack([part.reshape(self.units, classes) for part in parts], axis=1).astype(np.float32)
