"""The quantities that claims are about, each computed from the record of one run alone.

A quantity is ``None`` where a run has no such value (a diverged run has no score, and none is made up).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from statistics import fmean, median
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.planning.run_config import planned_steps
from experiments.runs.gradient_ratio import log_gradient_ratios
from experiments.runs.record import Record
from experiments.statistics.censoring import Time
from experiments.statistics.rows import Metric

RARE_SHARE = 0.8
"""A class is rare if its support is below this share of the mean support."""


def gap_at_common_train_f1(record: Record, target: float | None) -> float | None:
    """Return train minus validation macro-F1 where train macro-F1 first reaches the target, the same for all variants.

    Both curves are taken as straight between two validations, so that no variant is measured further along than
    another. None for a run that never reaches the target: at equal epochs, models that learn nothing have the smallest
    gap. None also for a run that is beyond it at its first validation already, since its gap at the target was not
    seen.
    """
    history = record.history.get("validation") or {}
    curves = zip(history.get("train_macro_f1", []), history.get("macro_f1", []), strict=False)
    points = [point for point in curves if None not in point]
    crossed = crossing([train for train, _ in points], target)
    if crossed is None or target is None:
        return None
    place, share = crossed
    if place == 0:
        return None
    earlier, validation = points[place - 1][1], points[place][1]
    return target - (earlier + share * (validation - earlier))


def time_to_target(record: Record, target: float | None) -> Time | None:
    """Return the step at which validation macro-F1 first reached the target; None where a run tells no such time."""
    is_told = (record.history.get("validation") or {}).get("step") or record.outcome.status == "diverged"
    return arrival(record, target) if is_told and target is not None else None


def arrival(record: Record, target: float) -> Time:
    """Return the step at which a run's validation macro-F1 first reached the target.

    The curve is taken as straight between two validations, so that times do not jump by the steps between them. A run
    that is beyond the target at its first validation was so then or earlier.
    """
    history = record.history.get("validation") or {}
    curve = zip(history.get("step", []), history.get("macro_f1", []), strict=False)
    points = [(float(time), score) for time, score in curve if score is not None]
    crossed = crossing([score for _, score in points], target)
    if crossed is None:
        return Time(float(budget_of(record)), reached=False)
    place, share = crossed
    time = max(points[place][0], 1.0)  # a look before the first step is no time to take the logarithm of
    if place == 0:
        return Time(time, reached=True, at_first_look=True)
    earlier = points[place - 1][0]
    return Time(earlier + share * (time - earlier), reached=True)


def crossing(values: Sequence[float], target: float | None) -> tuple[int, float] | None:
    """Return the first place at which values are at least the target, and how far from the place before it that is.

    The share is 1 at the place itself and, on a straight line, the nearer to 0 the earlier the target was reached; at
    the first place it is 1. None where the values never reach the target, or there is none.
    """
    place = next((index for index, value in enumerate(values) if target is not None and value >= target), None)
    if place is None or target is None:
        return None
    if place == 0:
        return 0, 1.0
    earlier = values[place - 1]
    return place, (target - earlier) / (values[place] - earlier)


def budget_of(record: Record) -> int:
    """Return the steps that a run was to train; one that diverged gets what it would have needed."""
    if record.outcome.status != "diverged":
        return int(record.progress["steps"])
    trainer, rows, data = record.config["trainer"], record.data["rows"]["train"], record.config["data"]
    batches = math.ceil(rows / data["batch_size"])
    tokens = record.progress["tokens_seen"] * batches
    trained = max(record.progress["steps"], 1) * trainer.get("accumulate_grad_batches", 1)
    return planned_steps(trainer, SimpleNamespace(steps_per_epoch=batches, train_tokens=tokens / trained))


def gradient_imbalance_at_start(record: Record, target: float | None) -> float | None:
    """Return ``|log₁₀ ratio|`` at the first step, the untrained network: powers of ten between first and last block."""
    ratio = log_gradient_ratios(record).get(1)
    return None if ratio is None else abs(ratio)


def gradient_imbalance_in_training(record: Record, target: float | None) -> float | None:
    """Return the median of ``|log₁₀ ratio|`` over the kept steps."""
    found = log_gradient_ratios(record)
    return median(map(abs, found.values())) if found else None


def has_failed(record: Record) -> bool:
    """Tell whether a run collapsed or diverged."""
    return record.outcome.status in ("collapsed", "diverged")


def class_scores(record: Record) -> dict[str, Metric]:
    """Return precision, recall and F1 of every class, as scores of test answers."""
    names = [str(name) for name in record.data.get("classes") or ()]
    return {
        f"{name} {what}": partial(score, place=place)
        for place, name in enumerate(names)
        for what, score in {"precision": _precision, "recall": _recall, "F1": _f1}.items()
    }


def rare_class_lead(record: Record) -> dict[str, Metric]:
    """Return the mean test F1 of rare classes minus that of all others, as a score of test answers.

    Its gain from one amount of text to another is the interaction of class frequency and amount. Empty where no class
    is rare.
    """
    entries = record.test.details["per_class"] if record.test else []
    support = [int(entry["support"]) for entry in entries]
    rare = [place for place, rows in enumerate(support) if rows < RARE_SHARE * fmean(support)]
    return {"": partial(_lead, rare=rare, classes=len(support))} if rare else {}


def _lead(counts: NDArray[Any], *, rare: Sequence[int], classes: int) -> NDArray[np.float64]:
    scores = np.stack([_f1(counts, place=place) for place in range(classes)])
    is_rare = np.isin(np.arange(classes), rare)
    return scores[is_rare].mean(axis=0) - scores[~is_rare].mean(axis=0)


def _precision(counts: NDArray[Any], *, place: int) -> NDArray[np.float64]:
    return counts[..., 0, place] / np.maximum(counts[..., 2, place], 1)


def _recall(counts: NDArray[Any], *, place: int) -> NDArray[np.float64]:
    return counts[..., 0, place] / np.maximum(counts[..., 1, place], 1)


def _f1(counts: NDArray[Any], *, place: int) -> NDArray[np.float64]:
    return 2 * counts[..., 0, place] / np.maximum(counts[..., 1, place] + counts[..., 2, place], 1)
