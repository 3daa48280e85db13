"""Tests and intervals over the rows of one test split, given trained models; by group if rows hang together.

They are about rows like these and these trained weights. How another seed would do is a question for
:mod:`experiments.statistics.seeds`. On ``docstrings`` the rows of a file resemble each other: the design effect is 15
for accuracy. Such rows are not independent, so whole groups are resampled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Labels = NDArray[np.int64]
RESAMPLES = 4_999
Metric = Callable[[NDArray[Any]], NDArray[np.float64]]
"""Turns counts by class (…, 3, K) into scores (…). The three are right rows, true rows and predicted rows; every score
of a confusion matrix that a report shows is a function of them."""


def accuracy(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Share of right rows, from counts by class (…, 3, K)."""
    hits, actual, _ = _parts(counts)
    return hits.sum(axis=-1) / np.maximum(actual.sum(axis=-1), 1)


def macro_precision(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Mean over classes of ``TP / predicted`` from counts (…, 3, K); 0 for a class that is never predicted."""
    hits, _, predicted = _parts(counts)
    return _over_classes(hits / np.maximum(predicted, 1), counts)


def macro_recall(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Mean over classes of ``TP / n`` from counts (…, 3, K); 0 for a class that never occurs and is predicted."""
    hits, actual, _ = _parts(counts)
    return _over_classes(hits / np.maximum(actual, 1), counts)


def macro_f1(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Mean over classes of ``2·TP / (n + predicted)``, from counts (…, 3, K)."""
    hits, actual, predicted = _parts(counts)
    return _over_classes(2 * hits / np.maximum(actual + predicted, 1), counts)


def matthews(counts: NDArray[Any]) -> NDArray[np.float64]:
    """Matthews correlation of K classes (Gorodkin 2004), from counts (…, 3, K); 0 if it is not defined.

    With c right rows of s, ``(c·s − Σ n·p) / √((s² − Σ p²)(s² − Σ n²))`` over classes with n true and p predicted rows.
    """
    hits, actual, predicted = (part.astype(float) for part in _parts(counts))
    right, rows = hits.sum(axis=-1), actual.sum(axis=-1)
    spread = (rows**2 - (predicted**2).sum(axis=-1)) * (rows**2 - (actual**2).sum(axis=-1))
    covariance = right * rows - (actual * predicted).sum(axis=-1)
    return np.where(spread > 0, covariance / np.sqrt(np.where(spread > 0, spread, 1)), 0.0)


def _parts(counts: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    return counts[..., 0, :], counts[..., 1, :], counts[..., 2, :]


def _over_classes(values: NDArray[np.float64], counts: NDArray[Any]) -> NDArray[np.float64]:
    """Mean over classes that occur; one without a label and without a prediction is left out, as scikit-learn does."""
    _, actual, predicted = _parts(counts)
    occurs = actual + predicted > 0
    return (values * occurs).sum(axis=-1) / np.maximum(occurs.sum(axis=-1), 1)


METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "macro_precision": macro_precision,
    "macro_recall": macro_recall,
    "macro_f1": macro_f1,
    "matthews": matthews,
}
"""Scores of a classification by the name that records give them."""


@dataclass(frozen=True)
class Answers:
    """What two models answered to the same N rows.

    Raises:
        ValueError: if the four arrays differ in length, or are empty.
    """

    labels: Labels
    """(N,) true classes, 0 … K − 1."""
    first: Labels
    """(N,) classes that the first model predicted."""
    second: Labels
    """(N,) classes that the second model predicted."""
    groups: NDArray[np.int64] | None = None
    """(N,) number of the group of each row; None if rows are independent."""

    def __post_init__(self) -> None:
        lengths = {len(part) for part in (self.labels, self.first, self.second, self.groups) if part is not None}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(f"labels, answers and groups must have one length above 0, not {sorted(lengths)}")

    def class_counts(self) -> NDArray[np.int64]:
        """Right, true and predicted rows by group, model and class, (G, 2, 3, K); without groups, each row is one."""
        groups = np.arange(len(self.labels)) if self.groups is None else np.unique(self.groups, return_inverse=True)[1]
        classes = int(max(part.max() for part in (self.labels, self.first, self.second))) + 1
        counts = np.zeros((int(groups.max()) + 1, 2, 3, classes), dtype=np.int64)
        for index, predicted in enumerate((self.first, self.second)):
            right = predicted == self.labels
            np.add.at(counts[:, index, 0], (groups[right], predicted[right]), 1)
            np.add.at(counts[:, index, 1], (groups, self.labels), 1)
            np.add.at(counts[:, index, 2], (groups, predicted), 1)
        return counts


def difference(counts: NDArray[np.int64], metric: Metric) -> NDArray[np.float64]:
    """First minus second of a metric, from summed counts by class (…, 2, 3, K)."""
    scores = metric(counts)
    return scores[..., 0] - scores[..., 1]


def bootstrap_interval(
    answers: Answers,
    metric: Metric,
    generator: np.random.Generator,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
) -> tuple[float, float]:
    """Percentile interval of the difference in a metric, by resampling groups (Davison & Hinkley 1997, 3.8).

    As many groups as there are get drawn with replacement; without groups, each row is one. Both models are scored on
    all rows of what was drawn.
    """
    counts = answers.class_counts()
    units = len(counts)
    flat = counts.reshape(units, -1)
    drawn = [
        difference((generator.multinomial(units, [1 / units] * units) @ flat).reshape(counts.shape[1:]), metric)
        for _ in range(resamples)
    ]
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def permutation_p_value(
    answers: Answers, metric: Metric, generator: np.random.Generator, *, resamples: int = RESAMPLES
) -> float:
    """Two-sided p-value of the difference in a metric when the models' names are swapped by group.

    If the models were equally good, swapping their answers in a group would change nothing but chance. Without groups,
    each row is one. ``p = (1 + #{|d*| ≥ |d|}) / (1 + resamples)`` (Phipson & Smyth 2010), which is never zero.
    """
    counts = answers.class_counts()
    total, half = counts.sum(axis=0), counts[:, 0] - counts[:, 1]
    observed = abs(float(difference(total, metric)))
    flat = half.reshape(len(half), -1)
    extreme = 0
    for _ in range(resamples):
        moved = (generator.integers(0, 2, len(flat)) @ flat).reshape(total.shape[1:])
        swapped = np.stack([total[0] - moved, total[1] + moved])
        extreme += abs(float(difference(swapped, metric))) >= observed - 1e-12
    return (1 + extreme) / (1 + resamples)


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p-value of McNemar's exact test (McNemar 1947), for independent rows.

    If both sides are right equally often, a row that only one gets right falls to either with chance 1/2:
    ``only_first ~ Binomial(only_first + only_second, 1/2)``.
    """
    from scipy.stats import binomtest

    discordant = only_first + only_second
    return float(binomtest(only_first, discordant, 0.5).pvalue) if discordant else 1.0


@dataclass(frozen=True)
class RowTest:
    """A test of whether both sides are right equally often, over the rows and not over seeds."""

    name: str
    p_value: float
    units: int
    """Rows or groups on which the sides differ; the others say nothing."""
    unit: str
    """``row`` or ``group``."""


def equally_often_right(right: NDArray[np.bool_], groups: pd.Series | None) -> RowTest:
    """Test whether two sides are right equally often on rows like these, given their trained weights.

    One pair on independent rows takes McNemar's exact test. Rows in groups, or answers from several seeds, take a test
    that flips signs in the sum of differences: by group, or by row without groups.

    Args:
        right: (pairs, 2, N) whether each side answered each row rightly.
        groups: (N,) the group of every row; None if rows are independent.
    """
    from experiments.statistics.permutation import sign_flip

    if len(right) == 1 and groups is None:
        first, second = right[0]
        only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
        return RowTest("McNemar's exact test", mcnemar(only_first, only_second), only_first + only_second, "row")
    sums = pd.Series((right[:, 0].astype(int) - right[:, 1].astype(int)).sum(axis=0))
    unit = "row"
    if groups is not None:
        sums, unit = sums.groupby(groups.to_numpy()).sum(), "group"
    changed = sums[sums != 0].to_numpy(dtype=float)
    return RowTest(f"sign-flip permutation by {unit}", sign_flip(changed), len(changed), unit)


RESAMPLES_OF_ONE = 1_999
"""Resamples of one model's scores."""
COUNTS_AT_ONCE = 4_000_000
"""Drawn numbers that are held at a time."""


def counts_by_unit(
    labels: Labels, predicted: Labels, classes: int, groups: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Return one model's right, true and predicted rows by group and class, (G, 3, K); without groups, by row.

    Args:
        labels: (N,) true classes.
        predicted: (N,) answers.
        classes: K.
        groups: (N,) number of the group of each row.
    """
    units = np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
    counts = np.zeros((int(units.max(initial=-1)) + 1, 3, classes), dtype=np.int64)
    right = predicted == labels
    np.add.at(counts[:, 0], (units[right], predicted[right]), 1)
    np.add.at(counts[:, 1], (units, labels), 1)
    np.add.at(counts[:, 2], (units, predicted), 1)
    return counts


def resampled_totals(
    parts: NDArray[Any], generator: np.random.Generator, resamples: int = RESAMPLES_OF_ONE
) -> NDArray[Any]:
    """Return what the parts of G units sum to when G units are drawn with replacement, (R, …) of (G, …).

    Whoever computes a score of each total has its bootstrap distribution (Davison & Hinkley 1997, section 2.2).
    """
    units, flat = len(parts), parts.reshape(len(parts), -1)
    size, totals = max(1, COUNTS_AT_ONCE // units), []
    for start in range(0, resamples, size):
        drawn = generator.multinomial(units, [1 / units] * units, size=min(size, resamples - start))
        totals.append(drawn.astype(flat.dtype) @ flat)
    return np.concatenate(totals).reshape(-1, *parts.shape[1:])


def percentiles(values: NDArray[np.float64], confidence: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of a bootstrap distribution (R,)."""
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def by_class(counts: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """Return accuracy (one against the rest), precision, recall and F1 of each class, (…, K), from counts (…, 3, K).

    A ratio whose denominator is 0 is 0.
    """
    hits, actual, predicted = _parts(counts)
    rows = actual.sum(axis=-1, keepdims=True)
    return {
        "accuracy": (rows - actual - predicted + 2 * hits) / np.maximum(rows, 1),
        "precision": hits / np.maximum(predicted, 1),
        "recall": hits / np.maximum(actual, 1),
        "f1": 2 * hits / np.maximum(actual + predicted, 1),
    }
