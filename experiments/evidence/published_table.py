"""The article's own table (section 7.3.2), and what arithmetic says about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
    sentences: Mapping[str, str]
    """What it comes to, by language."""


def predictions_are_too_few(recall_is_below_precision: Mapping[str, bool]) -> bool:
    """Tell whether recall below precision in every class rules out every single-label classifier on every test set.

    Proof. A class with n rows, recall R and precision P has ``n·R`` rows that are answered rightly. These are the share
    P of the rows that are given the class, so ``n·R/P`` rows are given it. A single-label classifier gives every one of
    the N rows to one class, so ``Σ n·R/P = N = Σ n``. With R < P in every class every term is below its n, and the sum
    is below N, whatever the class sizes n are: a contradiction. (Rounding does not help. Rounding keeps the order of
    numbers whose rounded values differ. So R ≤ P everywhere, and the sum reaches N only with R = P in every class.)
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
        sentences = {
            "en": "In every class the printed recall is below the printed precision. So Σ n·R/P, the number of "
            "predictions, would be smaller than the number of rows. No classifier that gives every row one class can "
            "do that on any test set, whatever the class sizes. One that abstains on some rows could.",
            "zh": "每个类公布的召回率都低于精确率，于是预测数 Σ n·R/P 会小于样本数。对每行只给一个类的分类器在任何"
            "测试集上都做不到，无论各类大小如何；对部分行弃权的分类器则可能做到。",
        }
        found.append(Contradiction("predictions", sentences))
    low, high = (mean_one_vs_rest_accuracy(OVERALL_ACCURACY + step, len(CLASSES)) for step in (-ROUNDING, ROUNDING))
    if not low - ROUNDING <= MEAN_CLASS_ACCURACY <= high + ROUNDING:
        sentences = {
            "en": f"The article defines a class's accuracy as one-vs-rest. Overall accuracy {OVERALL_ACCURACY:.2f} "
            f"then fixes its mean over five classes at 1 − 2(1 − accuracy)/5. With rounding that is {low:.3f} to "
            f"{high:.3f}, and the table's mean is {MEAN_CLASS_ACCURACY:.2f}.",
            "zh": f"文章把类的准确率定义为一对其余。于是总准确率 {OVERALL_ACCURACY:.2f} 决定了五个类的均值为 "
            f"1 − 2(1 − 准确率)/5，计入舍入为 {low:.3f} 至 {high:.3f}；表中的均值是 {MEAN_CLASS_ACCURACY:.2f}。",
        }
        found.append(Contradiction("class_accuracy", sentences))
    if not equal_class_sizes_are_possible(OVERALL_ACCURACY, F1, RECALL_IS_BELOW_PRECISION):
        mean = sum(F1.values()) / len(F1)
        sentences = {
            "en": f"Equal class sizes are impossible as well. Accuracy would be the mean recall, which is at most the "
            f"mean F1 {mean:.3f}, below {OVERALL_ACCURACY:.2f}. The article does not publish class sizes.",
            "zh": f"各类大小相等也不可能：那时准确率即平均召回率，至多为平均 F1 {mean:.3f}，"
            f"低于 {OVERALL_ACCURACY:.2f}。文章没有公布各类的大小。",
        }
        found.append(Contradiction("class_sizes", sentences))
    return found
