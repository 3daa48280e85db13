"""What a claim can be about: quantities by name, and how the effect on each is found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from experiments.evidence.quantities import (
    class_scores,
    gap_at_common_train_f1,
    gradient_imbalance_at_start,
    gradient_imbalance_in_training,
    rare_class_lead,
)
from experiments.runs.record import Record
from experiments.statistics.rows import Metric

Unit = Literal["points", "decades", "doublings", "share"]
"""Of an effect: a difference of scores, powers of ten, powers of two, a share of runs."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A measure, and how an effect on it is found."""

    kind: Literal["score", "answers", "value", "time", "outcomes"]
    """A recorded test score; scores of the test answers; a value of a run; when it arrived; whether it failed."""
    unit: Unit = "points"
    value: Callable[[Record, float | None], float | None] | None = None
    """Of kind ``value``: from a record and the target, 90 % of TF-IDF's score on validation."""
    answers: Callable[[Record], Mapping[str, Metric]] | None = None
    """Of kind ``answers``: from a record, what is scored of the test answers, by component; the weakest one counts."""


MEASURES: dict[str, Measure] = {
    "macro_f1": Measure(kind="score"),
    "class_precision_recall_f1": Measure(kind="answers", answers=class_scores),
    "rare_class_lead": Measure(kind="answers", answers=rare_class_lead),
    "gap_at_common_train_f1": Measure(kind="value", value=gap_at_common_train_f1),
    "steps_to_target": Measure(kind="time", unit="doublings"),
    "gradient_imbalance_at_start": Measure(kind="value", unit="decades", value=gradient_imbalance_at_start),
    "gradient_imbalance_in_training": Measure(kind="value", unit="decades", value=gradient_imbalance_in_training),
    "failure_share": Measure(kind="outcomes", unit="share"),
}
