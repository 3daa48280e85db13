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
    sentence: str


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
        sentence = (
            "In every class the printed recall is below the printed precision (section 7.3.2; no more of the two "
            "enters), so Σ n·R/P, the number of predictions, would be smaller than the number of rows. No classifier "
            "that gives every row one class can produce that on any test set, whatever the class sizes; one that "
            "abstains on some rows could."
        )
        found.append(Contradiction("predictions", sentence))
    low, high = (mean_one_vs_rest_accuracy(OVERALL_ACCURACY + step, len(CLASSES)) for step in (-ROUNDING, ROUNDING))
    if not low - ROUNDING <= MEAN_CLASS_ACCURACY <= high + ROUNDING:
        sentence = (
            f"If a class's accuracy is one-vs-rest accuracy, as the article defines it, overall accuracy "
            f"{OVERALL_ACCURACY:.2f} fixes the mean over the five classes at 1 − 2(1 − accuracy)/5, between {low:.3f} "
            f"and {high:.3f} with rounding; the table's mean is {MEAN_CLASS_ACCURACY:.2f}."
        )
        found.append(Contradiction("class_accuracy", sentence))
    if not equal_class_sizes_are_possible(OVERALL_ACCURACY, F1, RECALL_IS_BELOW_PRECISION):
        sentence = (
            f"Equal class sizes are impossible as well: accuracy would be the mean recall, which is at most the mean "
            f"F1 {sum(F1.values()) / len(F1):.3f}, below {OVERALL_ACCURACY:.2f}. The article does not publish class "
            "sizes."
        )
        found.append(Contradiction("class_sizes", sentence))
    return found
