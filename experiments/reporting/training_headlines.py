"""What the figures of training show, as sentences computed from the runs that are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log10
from statistics import fmean

import numpy as np

from experiments.reporting.curves import first_steps
from experiments.reporting.render import joined, plural, rounded
from experiments.reporting.rows import Row, first_step_reaching
from experiments.runs.gradient_ratio import DECADES, log_gradient_ratios
from experiments.runs.naming import TFIDF
from experiments.runs.record import Record

MOST_NAMED = 3
"""Conditions whose gradients are unbalanced by more than 10 that a headline names."""
ALIKE = 1.05
"""Factor up to which two gradients are called about equal."""


def loss_headline(rows: Sequence[Row]) -> str:
    """Return where validation loss falls lowest, and where in no run it gets below the class prior's entropy."""
    least = {row.label: (row, _least_losses(row)) for row in rows}
    known = [(fmean(found), label) for label, (_, found) in least.items() if found]
    if not known:
        return "No run was validated"
    loss, label = min(known)
    subject = "Validation loss falls" if len(known) == 1 else f"Validation loss falls lowest in {label}:"
    parts = [f"{subject} to {loss:.3g}{' (mean over seeds of the least)' if len(least[label][1]) > 1 else ''}"]
    stuck = [
        name
        for name, (row, found) in least.items()
        if found and (entropy := prior_entropy(row)) is not None and min(found) >= entropy
    ]
    if stuck:
        parts.append(f"it never gets below the class prior in {joined(stuck)}")
    return "; ".join(parts)


def _least_losses(row: Row) -> list[float]:
    losses = ((record.history.get("validation") or {}).get("loss") or [] for record in row.records)
    finite = [[loss for loss in found if loss is not None] for found in losses]
    return [min(found) for found in finite if found]


def prior_entropy(row: Row) -> float | None:
    """Return the cross-entropy, in nats, of a model that ignores the text; None where the loss is another one."""
    scores = next((record.validation for record in row.records if record.validation), None)
    model = row.records[0].config.get("model") or {}
    plain = model.get("loss", "cross_entropy") == "cross_entropy" and not model.get("label_smoothing")
    if scores is None or "per_class" not in scores.details or not plain:
        return None
    counts = np.array([int(entry["support"]) for entry in scores.details["per_class"]], dtype=float)
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def learning_headline(rows: Sequence[Row]) -> str:
    """Return who reaches the target on validation first, and who never does; without a target who gets highest."""
    if all(row.target is None for row in rows):
        return _highest(rows)
    reached = {
        row.label: [first_step_reaching(record, row.target) for record in row.records]
        for row in rows
        if row.target is not None and row.condition != TFIDF
    }
    medians = {row.label: row.steps_to_target for row in rows if row.steps_to_target is not None}
    level = rounded(next(row.target for row in rows if row.target is not None), 2)
    never = [label for label, steps in reached.items() if all(step is None for step in steps)]
    target = f"90 % of TF-IDF's validation score ({level})"
    if not medians:
        parts = [f"In no condition do half of the runs reach {target}"]
    else:
        soonest = min(medians.values())
        first = [label for label, median in medians.items() if median == soonest]
        verb = "reaches" if len(first) == 1 else "reach"
        typical = " (median)" if max(len(reached[label]) for label in first) > 1 else ""
        lead = " first," if len(reached) > len(first) else ""
        parts = [f"{joined(first)} {verb} {target}{lead} after {plural(soonest, 'step')}{typical}"]
    if never and len(never) < len(reached):
        parts.append(f"{joined(never)} never {'does' if len(never) == 1 else 'do'}")
    return "; ".join(parts)


def _highest(rows: Sequence[Row]) -> str:
    best = {}
    for row in rows:
        found = [
            max(scores)
            for record in row.records
            if (
                scores := [
                    f1 for f1 in (record.history.get("validation") or {}).get("macro_f1") or [] if f1 is not None
                ]
            )
        ]
        if found:
            best[row.label] = fmean(found)
    if not best:
        return "No run was validated"
    label = max(best, key=lambda name: best[name])
    return f"{label} gets highest on validation: macro F1 {rounded(best[label])}, mean over seeds of each run's best"


def gradient_headline(rows: Sequence[Row]) -> str:
    """Return where the first block's gradient norm is furthest from the last one's when training starts."""
    found = [(exponent, row.label) for row in rows if (exponent := _starting_ratio(row)) is not None]
    if not found:
        return "No network has two blocks whose gradients can be compared"
    ordered = sorted(found, key=lambda entry: -abs(entry[0]))
    far = [entry for entry in ordered if abs(entry[0]) > 1][:MOST_NAMED] or ordered[:1]
    others = [abs(exponent) for exponent, _ in ordered[len(far) :]]
    said = [f"{_times(exponent)} in {label}" for exponent, label in far]
    start = f"First block's gradient over the last one's: {'; '.join(said)}"
    if not others:
        return start
    named = "the other" if len(others) == 1 else f"the {len(others)} others"
    return f"{start}; within {_rounded_up(10 ** max(others))} times in {named}"


def _starting_ratio(row: Row) -> float | None:
    """Return log₁₀ of the first block's over the last block's gradient norm, mean over first steps, then over runs."""
    means = [fmean(found) for record in row.records if (found := _first_ratios(record))]
    return fmean(means) if means else None


def _first_ratios(record: Record) -> list[float]:
    first = first_steps(record.history.get("gradient_norms") or {})
    return [ratio for step, ratio in log_gradient_ratios(record).items() if step in first]


def _times(exponent: float) -> str:
    """Return how ``10**exponent`` compares with 1, such as ``1,200 times smaller``."""
    factor = 10 ** abs(exponent)
    if factor < ALIKE:
        return "about as large"
    bound = "at least " if abs(exponent) >= DECADES else ""
    return f"{bound}{_grouped(factor)} times {'smaller' if exponent < 0 else 'larger'}"


def _grouped(value: float) -> str:
    """Return two significant digits, thousands grouped; a power of ten where the number would be long."""
    if value >= 1e6:
        return f"{value:.0e}".replace("e+0", "e").replace("e+", "e").replace("e", " · 10^").removeprefix("1 · ")
    digits = max(0, 1 - floor(log10(value)))
    return f"{round(value, 1 - floor(log10(value))):,.{digits}f}"


def _rounded_up(value: float) -> str:
    """Return the value rounded up to two significant digits, so that it bounds."""
    unit = 10.0 ** (floor(log10(value)) - 1)
    return _grouped(ceil(value / unit - 1e-9) * unit)
