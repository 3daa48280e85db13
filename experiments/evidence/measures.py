"""What a claim can be about: quantities by name, and how the effect on each is judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from experiments.evidence.quantities import (
    Value,
    class_scores,
    exploding_gradient_share,
    failures,
    gap_at_common_train_f1,
    generalisation_gap,
    gradient_imbalance_at_start,
    gradient_imbalance_in_training,
    gradient_log_ratio_at_start,
    gradient_log_ratio_in_training,
    pathological_gradient_share,
    rare_class_lead,
    test_score,
    time_to_target,
    vanishing_gradient_share,
)
from experiments.runs.record import Record

DIFFERENCE, DECADES, DOUBLINGS = "difference", "powers of ten", "log₂ of the ratio (1: half the time)"
"""Units of an effect, the difference between the two arms."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A measure, and how an effect on it is judged."""

    compute: Callable[[Sequence[Record], float | None], Value]
    """From the records of one seed (one run, or one per swept value) and the target of ``steps_to_target``."""
    kind: Literal["value", "time", "components", "outcomes"] = "value"
    unit: str = DIFFERENCE
    best: float | None = None
    """Best value to hope for: where the control is within δ of it, no treatment is asked to gain δ."""
    needs_target: bool = False
    """Whether the measure asks for the TF-IDF baseline's score."""
    may_lack: bool = False
    """Whether a run without a value is left out as the claim itself demands; else its run diverged."""


MEASURES: dict[str, Measure] = {
    "macro_f1": Measure(compute=test_score("macro_f1"), best=1.0),
    "accuracy": Measure(compute=test_score("accuracy"), best=1.0),
    "generalisation_gap": Measure(compute=generalisation_gap, best=0.0),
    "gap_at_common_train_f1": Measure(compute=gap_at_common_train_f1, best=0.0, needs_target=True, may_lack=True),
    "steps_to_target": Measure(compute=time_to_target("step"), kind="time", unit=DOUBLINGS, needs_target=True),
    "tokens_to_target": Measure(compute=time_to_target("tokens"), kind="time", unit=DOUBLINGS, needs_target=True),
    "gradient_imbalance_at_start": Measure(compute=gradient_imbalance_at_start, unit=DECADES, best=0.0),
    "gradient_imbalance_in_training": Measure(compute=gradient_imbalance_in_training, unit=DECADES, best=0.0),
    "pathological_gradient_share": Measure(compute=pathological_gradient_share, best=0.0),
    "gradient_log_ratio_at_start": Measure(compute=gradient_log_ratio_at_start, unit=DECADES),
    "gradient_log_ratio_in_training": Measure(compute=gradient_log_ratio_in_training, unit=DECADES),
    "vanishing_gradient_share": Measure(compute=vanishing_gradient_share, best=0.0),
    "exploding_gradient_share": Measure(compute=exploding_gradient_share, best=0.0),
    "failure_share": Measure(compute=failures, kind="outcomes", best=0.0),
    "rare_class_lead": Measure(compute=rare_class_lead),
    "class_precision_recall_f1": Measure(
        compute=class_scores("precision", "recall", "f1"), kind="components", best=1.0
    ),
    "class_accuracy": Measure(compute=class_scores("accuracy"), kind="components"),
}
"""One-vs-rest ``class_accuracy`` is no evidence: no claim rests on it."""
