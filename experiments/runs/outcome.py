"""When a model counts as collapsed: it answers no better than one that never read the text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_modules.tasks.base import Evaluation

MARGIN = 0.02
"""A model whose macro-F1 exceeds the majority class's by no more than this has learned nothing."""


UNIGRAM_MARGIN = 0.01
"""A language model whose loss in nats is below the unigram model's by no more than this has learned nothing."""


def language_collapse(evaluations: Mapping[str, Evaluation], facts: Any) -> str:
    """Say why the last weights predict tokens no better than by their frequency; nothing if they do.

    Args:
        evaluations: of the last weights, on ``validation`` at least.
        facts: of the data module, with ``unigram_losses``.
    """
    loss, floor = evaluations["validation"].metrics["loss"], facts.unigram_losses["validation"] - UNIGRAM_MARGIN
    if loss < floor:
        return ""
    return f"validation loss {loss:.4f} is not below {floor:.4f} (the unigram model's − {UNIGRAM_MARGIN})"


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


def classification_collapse(evaluations: Mapping[str, Evaluation], facts: Any) -> str:
    """Say why the last weights classify no better than guessing; nothing if they do.

    Args:
        evaluations: of the last weights, on ``train`` and ``validation``.
        facts: of the data module, with ``class_counts`` (training rows per class).
    """
    return nothing_learned(
        validation_macro_f1=evaluations["validation"].metrics["macro_f1"],
        train_cross_entropy=evaluations["train"].predictions.cross_entropy(),
        validation_counts=[of_class["support"] for of_class in evaluations["validation"].details["per_class"]],
        train_counts=facts.class_counts,
    )


def nothing_learned(
    *,
    validation_macro_f1: float,
    train_cross_entropy: float,
    validation_counts: Sequence[int],
    train_counts: Sequence[int],
) -> str:
    """Say in which way a model is only as good as guessing; nothing if it is better.

    This is so if the last validation macro-F1 is at most 0.02 above that of the majority class. It is also so if the
    last train cross-entropy (evaluation mode, in nats) is at least that of the class shares. Counts are rows per class.
    """
    floor = majority_macro_f1(validation_counts) + MARGIN
    if validation_macro_f1 <= floor:
        return f"validation macro-F1 {validation_macro_f1:.4f} is not above {floor:.4f} (majority class + {MARGIN})"
    entropy = prior_entropy(train_counts)
    if train_cross_entropy >= entropy:
        return f"train cross-entropy {train_cross_entropy:.4f} is not below {entropy:.4f}, that of the class shares"
    return ""
