"""The quantities that claims are about, each computed from the records of one seed alone.

A quantity is ``None`` where a run has no such value (a diverged run has no score, and none is made up).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean, median
from types import SimpleNamespace

from experiments.planning.run_config import planned_steps
from experiments.runs.gradient_ratio import EXPLODING, VANISHING, log_gradient_ratios
from experiments.runs.record import Record
from experiments.statistics.censoring import Time

RARE_SHARE = 0.8
"""A class is rare if its support is below this share of the mean support."""
Value = float | Time | dict[str, float] | tuple[bool, ...] | None


def only(records: Sequence[Record]) -> Record:
    """Return the single run of a seed.

    Raises:
        ValueError: where there are several, because the claim leaves swept values open.
    """
    (record,) = records
    return record


def test_score(name: str) -> Callable[[Sequence[Record], float | None], Value]:
    """Return the measure of a test score: ``accuracy``, ``macro_f1`` and so on."""

    def compute(records: Sequence[Record], target: float | None) -> Value:
        return only(records).score("test", name)

    return compute


def class_scores(*names: str) -> Callable[[Sequence[Record], float | None], Value]:
    """Return the measure of several test scores of every class: a component for each class and score."""

    def compute(records: Sequence[Record], target: float | None) -> Value:
        scores = only(records).test
        if scores is None:
            return None
        return {
            f"{entry['class']} {name}": float(entry[name]) for entry in scores.details["per_class"] for name in names
        }

    return compute


def generalisation_gap(records: Sequence[Record], target: float | None) -> Value:
    """Return train minus validation macro-F1 of the chosen checkpoint."""
    train, validation = (only(records).score(split, "macro_f1") for split in ("train", "validation"))
    return None if train is None or validation is None else train - validation


def gap_at_common_train_f1(records: Sequence[Record], target: float | None) -> Value:
    """Return train minus validation macro-F1 where train macro-F1 first reaches the target, the same for all variants.

    Both curves are taken as straight between two validations, so that no variant is measured further along than
    another. None for a run that never reaches it (at equal epochs, models that learn nothing have the smallest gap) and
    for one that is beyond it at its first validation already, whose gap at the target was not seen.
    """
    history = only(records).history.get("validation") or {}
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


def time_to_target(unit: str) -> Callable[[Sequence[Record], float | None], Value]:
    """Return the measure of when validation macro-F1 first reached the target, in ``step`` or ``tokens``."""

    def compute(records: Sequence[Record], target: float | None) -> Value:
        record = only(records)
        is_told = (record.history.get("validation") or {}).get("step") or record.outcome.status == "diverged"
        return arrival(record, unit, target) if is_told and target is not None else None

    return compute


def arrival(record: Record, unit: str, target: float) -> Time:
    """Return when a run's validation macro-F1 first reached the target, in ``step`` or ``tokens``.

    The curve is taken as straight between two validations, so that times do not jump by the steps between them. A run
    that is beyond the target at its first validation was so then or earlier.
    """
    history = record.history.get("validation") or {}
    curve = zip(history.get(unit, []), history.get("macro_f1", []), strict=False)
    points = [(float(time), score) for time, score in curve if score is not None]
    crossed = crossing([score for _, score in points], target)
    if crossed is None:
        return Time(float(budget(record, unit)), reached=False)
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


def budget(record: Record, unit: str) -> int:
    """Return how long a run was to train, in steps or tokens; one that diverged gets what it would have needed."""
    steps, tokens = record.progress["steps"], record.progress["tokens_seen"]
    if record.outcome.status == "diverged":
        trainer, rows = record.config["trainer"], record.data["rows"]["train"]
        batches = math.ceil(rows / record.config["data"]["batch_size"])
        batches_trained = max(steps, 1) * trainer.get("accumulate_grad_batches", 1)
        facts = SimpleNamespace(steps_per_epoch=batches, train_tokens=tokens * batches / batches_trained)
        planned = planned_steps(trainer, facts)
        steps, tokens = planned, round(tokens * planned / max(steps, 1))
    return int(steps if unit == "step" else tokens)


def gradient_imbalance_at_start(records: Sequence[Record], target: float | None) -> Value:
    """Return ``|log₁₀ ratio|`` at the first step, the untrained network: powers of ten between first and last block."""
    ratio = log_gradient_ratios(only(records)).get(1)
    return None if ratio is None else abs(ratio)


def gradient_imbalance_in_training(records: Sequence[Record], target: float | None) -> Value:
    """Return the median of ``|log₁₀ ratio|`` over the kept steps."""
    found = log_gradient_ratios(only(records))
    return median(map(abs, found.values())) if found else None


def gradient_log_ratio_at_start(records: Sequence[Record], target: float | None) -> Value:
    """Return the log₁₀ ratio at the first step with its sign: below 0 the first block gets less gradient."""
    return log_gradient_ratios(only(records)).get(1)


def gradient_log_ratio_in_training(records: Sequence[Record], target: float | None) -> Value:
    """Return the median of the log₁₀ ratio over the kept steps, with its sign."""
    found = log_gradient_ratios(only(records))
    return median(found.values()) if found else None


def vanishing_gradient_share(records: Sequence[Record], target: float | None) -> Value:
    """Return the share of kept steps whose gradient vanishes (ratio below 1e-3)."""
    found = log_gradient_ratios(only(records))
    return fmean(ratio < math.log10(VANISHING) for ratio in found.values()) if found else None


def exploding_gradient_share(records: Sequence[Record], target: float | None) -> Value:
    """Return the share of kept steps whose gradient explodes (ratio above 1e3)."""
    found = log_gradient_ratios(only(records))
    return fmean(ratio > math.log10(EXPLODING) for ratio in found.values()) if found else None


def pathological_gradient_share(records: Sequence[Record], target: float | None) -> Value:
    """Return the share of kept steps whose gradient vanishes (ratio below 1e-3) or explodes (above 1e3)."""
    found = log_gradient_ratios(only(records))
    low, high = math.log10(VANISHING), math.log10(EXPLODING)
    return fmean(not low <= ratio <= high for ratio in found.values()) if found else None


def failures(records: Sequence[Record], target: float | None) -> Value:
    """Return for each run of a seed, over all learning rates, whether it collapsed or diverged."""
    return tuple(record.outcome.status in ("collapsed", "diverged") for record in records)


def rare_class_lead(records: Sequence[Record], target: float | None) -> Value:
    """Return the mean test F1 of rare classes (support below 80 % of the mean) minus that of all others.

    Its gain from one amount of text to another is the interaction of class frequency and amount. None where no class is
    rare.
    """
    scores = only(records).test
    if scores is None:
        return None
    rare = rare_classes(only(records))
    by_rarity: dict[bool, list[float]] = {True: [], False: []}
    for entry in scores.details["per_class"]:
        by_rarity[str(entry["class"]) in rare].append(float(entry["f1"]))
    return fmean(by_rarity[True]) - fmean(by_rarity[False]) if by_rarity[True] else None


def rare_classes(record: Record) -> dict[str, int]:
    """Return the test rows of every rare class (below 80 % of the mean support); none where the run has no score."""
    entries = record.test.details["per_class"] if record.test else []
    support = {str(entry["class"]): int(entry["support"]) for entry in entries}
    return {name: rows for name, rows in support.items() if rows < RARE_SHARE * fmean(support.values())}
