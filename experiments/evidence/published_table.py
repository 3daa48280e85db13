"""The article's own table (section 7.3.2): what arithmetic says about it, and which of our settings come near it."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

CLASSES = ("A", "B", "C", "D", "E")
OVERALL_ACCURACY = 0.83
MEAN_CLASS_ACCURACY = 0.80
F1 = {"A": 0.90, "B": 0.84, "C": 0.80, "D": 0.75, "E": 0.70}
RECALL_IS_BELOW_PRECISION = dict.fromkeys(CLASSES, True)
"""Whether the printed recall of a class is below its printed precision."""
ROUNDING = 0.005
"""Half of the last printed digit."""


@dataclass(frozen=True)
class Contradiction:
    """Two printed facts that cannot both be true of one classifier on one test set."""

    name: str
    sentence: Mapping[str, str]
    """In English and Chinese."""


def predictions_are_too_few(recall_is_below_precision: Mapping[str, bool]) -> bool:
    """Tell whether recall below precision in every class rules out every single-label classifier on every test set.

    Proof. A class with n rows, recall R and precision P has ``n·R`` rows that are answered rightly, and these are the
    share P of the rows that are given the class: so ``n·R/P`` rows are given it. A single-label classifier gives every
    one of the N rows to one class, so ``Σ n·R/P = N = Σ n``. With R < P in every class every term is below its n, and
    the sum is below N, whatever the class sizes n are: a contradiction. (Rounding does not help: of two numbers whose
    rounded values differ, the larger one is not the smaller, so R ≤ P everywhere and the sum reaches N only with R = P
    in every class.)
    """
    return bool(recall_is_below_precision) and all(recall_is_below_precision.values())


def mean_one_vs_rest_accuracy(accuracy: float, classes: int) -> float:
    """Return the mean over K classes of one-vs-rest accuracy ``(TP + TN)/N``, which overall accuracy fixes.

    Proof. A right answer counts as right in all K one-vs-rest problems; a wrong one counts as wrong in exactly two,
    that of its true and that of its predicted class. So the mean is ``1 − 2·(1 − accuracy)/K``.
    """
    return 1 - 2 * (1 - accuracy) / classes


def equal_class_sizes_are_possible(accuracy: float, f1: Mapping[str, float], recall_below: Mapping[str, bool]) -> bool:
    """Tell whether overall accuracy fits F1 if all classes were equally frequent.

    Proof. Accuracy is ``Σ (n/N)·R``, the mean recall where sizes are equal. F1 is the harmonic mean of R and P and so
    at least R where R ≤ P: the mean recall is at most the mean F1. Accuracy above the mean F1 is a contradiction.
    """
    if not all(recall_below.values()):
        return True
    return accuracy - ROUNDING <= sum(f1.values()) / len(f1) + ROUNDING


def contradictions() -> list[Contradiction]:
    """Return what arithmetic finds in the published table, the decisive contradiction first."""
    found = []
    if predictions_are_too_few(RECALL_IS_BELOW_PRECISION):
        found.append(
            Contradiction(
                "predictions",
                {
                    "en": "In every class the printed recall is below the printed precision (section 7.3.2; no more "
                    "of the two enters), so Σ n·R/P, the number of predictions, would be smaller than the number of "
                    "rows. No classifier that gives every row one class can produce that on any test set, whatever the "
                    "class sizes; one that abstains on some rows could.",
                    "zh": "每个类印出的召回率都低于印出的精确率（第 7.3.2 节；推导只用到这一点），因此预测总数 Σ n·R/P "
                    "会少于样本数。无论各类样本数如何，凡是给每个样本指定一个类的分类器，在任何测试集上都不可能得到这样的结果；"
                    "允许拒答的分类器则有可能。",
                },
            )
        )
    low, high = (mean_one_vs_rest_accuracy(OVERALL_ACCURACY + step, len(CLASSES)) for step in (-ROUNDING, ROUNDING))
    if not low - ROUNDING <= MEAN_CLASS_ACCURACY <= high + ROUNDING:
        found.append(
            Contradiction(
                "class_accuracy",
                {
                    "en": f"If a class's accuracy is one-vs-rest accuracy, as the article defines it, overall accuracy "
                    f"{OVERALL_ACCURACY:.2f} fixes the mean over the five classes at 1 − 2(1 − accuracy)/5, between "
                    f"{low:.3f} and {high:.3f} with rounding; the table's mean is {MEAN_CLASS_ACCURACY:.2f}.",
                    "zh": f"若按文章定义，类准确率为一对其余准确率，则总体准确率 {OVERALL_ACCURACY:.2f} "
                    f"决定五个类的平均值为 1 − 2(1 − 准确率)/5，计入舍入为 {low:.3f} 至 {high:.3f}；"
                    f"而表中的平均值为 {MEAN_CLASS_ACCURACY:.2f}。",
                },
            )
        )
    if not equal_class_sizes_are_possible(OVERALL_ACCURACY, F1, RECALL_IS_BELOW_PRECISION):
        found.append(
            Contradiction(
                "class_sizes",
                {
                    "en": f"Equal class sizes are impossible as well: accuracy would be the mean recall, which is at "
                    f"most the mean F1 {sum(F1.values()) / len(F1):.3f}, below {OVERALL_ACCURACY:.2f}. The article "
                    "does not publish class sizes.",
                    "zh": f"各类样本数相等也不可能：此时准确率等于平均召回率，不会超过平均 F1 "
                    f"{sum(F1.values()) / len(F1):.3f}，低于 {OVERALL_ACCURACY:.2f}。文章没有公布各类样本数。",
                },
            )
        )
    return found


@dataclass(frozen=True)
class Neighbour:
    """A condition of ours whose level is near the published one."""

    grid: str
    corpus: str
    condition: str
    """Name of the condition, with its swept values."""
    accuracy: float
    macro_f1: float

    @property
    def distance(self) -> float:
        """Sum of the distances to the published accuracy and the published mean F1."""
        return abs(self.accuracy - OVERALL_ACCURACY) + abs(self.macro_f1 - sum(F1.values()) / len(F1))


def nearest_settings(results: Path, count: int = 5) -> list[Neighbour]:
    """Return the conditions in the summaries (``results/<grid>/<corpus>/summary.csv``) that come nearest.

    Grids with overrides (``quick+layers=12``) and the meaningless numbers of ``smoke`` do not count.
    """
    found = []
    for path in sorted(results.glob("*/*/summary.csv")):
        if path.parts[-3] == "smoke" or "+" in path.parts[-3]:
            continue
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["accuracy"] and row["macro_f1"]]
        for row in rows:
            grid, corpus = path.parts[-3:-1]
            scores = (float(row[name]) for name in ("accuracy", "macro_f1"))
            found.append(Neighbour(grid, corpus, condition_of(row), *scores))
    return sorted(found, key=lambda neighbour: neighbour.distance)[:count]


def condition_of(row: Mapping[str, str]) -> str:
    """Return the condition of a row of ``summary.csv`` with its swept values, the columns up to the first of size."""
    swept = list(takewhile(lambda name: name not in ("norms", "accuracy"), list(row)[1:]))
    if not any(row[name] for name in swept):
        return row["variant"]
    values = ", ".join(f"{name}={row[name] or 'none'}" for name in swept)
    return f"{row['variant']} ({values})"
