"""Whether a run trained, collapsed or diverged. Both failures of training are results, counted in every table."""

from __future__ import annotations

import math
from collections.abc import Sequence

from experiments.runs.record import Outcome

MARGIN = 0.02
"""A model whose macro-F1 exceeds the majority class's by no more than this has learned nothing."""


def majority_macro_f1(class_counts: Sequence[int]) -> float:
    """Return the macro-F1 of always answering the most frequent class.

    With share p of that class its precision is p and its recall 1, so its F1 is 2p/(1+p); the other classes have 0. A
    class without rows, which is never answered either, takes no part in the mean.
    """
    share = max(class_counts) / sum(class_counts)
    return 2 * share / (1 + share) / sum(count > 0 for count in class_counts)


def prior_entropy(class_counts: Sequence[int]) -> float:
    """Return the cross-entropy in nats of always answering the class shares: −Σ p·ln p."""
    total = sum(class_counts)
    return -sum(count / total * math.log(count / total) for count in class_counts if count)


def judge(
    *,
    step: int,
    divergence: str | None,
    validation_macro_f1: float,
    train_cross_entropy: float,
    validation_counts: Sequence[int],
    train_counts: Sequence[int],
) -> Outcome:
    """Return how training ended.

    ``diverged``: the loss or the gradient was not finite. ``collapsed``: the last validation macro-F1 is no better than
    the majority class's + 0.02, or the last train cross-entropy (evaluation mode) no lower than the class shares'.

    Args:
        step: optimiser step at which training ended.
        divergence: what was not finite, if anything.
        validation_macro_f1: of the last weights.
        train_cross_entropy: of the last weights, in nats.
        validation_counts: validation rows per class.
        train_counts: training rows per class.
    """
    if divergence:
        return Outcome(status="diverged", step=step, reason=divergence)
    floor = majority_macro_f1(validation_counts) + MARGIN
    if validation_macro_f1 <= floor:
        reason = f"validation macro-F1 {validation_macro_f1:.4f} is not above {floor:.4f} (majority class + {MARGIN})"
        return Outcome(status="collapsed", step=step, reason=reason)
    entropy = prior_entropy(train_counts)
    if train_cross_entropy >= entropy:
        reason = f"train cross-entropy {train_cross_entropy:.4f} is not below {entropy:.4f}, that of the class shares"
        return Outcome(status="collapsed", step=step, reason=reason)
    return Outcome(status="trained", step=step)
