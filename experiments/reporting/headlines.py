"""What the figures of scores show, as sentences computed from the runs that are drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.reporting.render import interval, joined, mean_and_sd, rounded
from experiments.reporting.rows import Row
from experiments.reporting.tables import macro_f1_difference
from experiments.runs.naming import TFIDF

MOST_NAMED = 3
"""Conditions up to which a headline names whose intervals it means; of more it gives the numbers."""


def scores_headline(rows: Sequence[Row]) -> str:
    """Return which network has the highest mean test macro-F1, its lead by seeds, and where TF-IDF stands."""
    ranked = sorted(
        ((mean, row) for row in rows if row.condition != TFIDF and (mean := row.test("macro_f1").mean) is not None),
        key=lambda entry: -entry[0],
    )
    if not ranked:
        return "No network has test scores"
    best = ranked[0][1]
    parts = [f"{best.label} has the highest test macro F1 ({mean_and_sd(best.test('macro_f1'))})"]
    if len(ranked) > 1:
        parts.append(_lead(best, ranked[1][1]))
    baselines = [row for row in rows if row.condition == TFIDF and row.scored]
    if len(baselines) == 1:
        parts += _standing(baselines[0], [row for _, row in ranked])
    return "; ".join(parts)


def _lead(best: Row, second: Row) -> str:
    lead = macro_f1_difference(best, second)
    if lead.low is None or lead.high is None:
        return f"next comes {second.label} ({mean_and_sd(second.test('macro_f1'))})"
    judgement = "excludes" if lead.low > 0 else "includes"
    return (
        f"the 95 % interval of its lead over {second.label}, paired by seed, {judgement} zero "
        f"({rounded(lead.mean)}, {interval(lead)})"
    )


def _standing(baseline: Row, networks: Sequence[Row]) -> list[str]:
    """Return a part that counts the intervals below, around and above a baseline's score; none without intervals."""
    level = baseline.test("macro_f1").mean
    spreads = [(row, spread.low, spread.high) for row in networks for spread in [row.test("macro_f1")]]
    known = [(row, low, high) for row, low, high in spreads if low is not None and high is not None]
    if level is None or not known:
        return []
    below = [row.label for row, _, high in known if high < level]
    above = [row.label for row, low, _ in known if low > level]
    within = [row.label for row, low, high in known if low <= level <= high]
    sides = {side: names for side, names in (("above", below), ("within", within), ("below", above)) if names}
    return [f"{baseline.label} ({rounded(level)}) lies {_spoken_sides(sides, len(known))}"]


def _spoken_sides(sides: Mapping[str, Sequence[str]], total: int) -> str:
    """Return on which side of whose intervals a score lies: by name, or of many their numbers."""
    if len(sides) == 1 and total > 1:
        return f"{next(iter(sides))} all {total} intervals"
    if total <= MOST_NAMED:
        said = (f"{side} the interval{'s' * (len(of) > 1)} of {joined(of)}" for side, of in sides.items())
        return ", ".join(said)
    return f"{', '.join(f'{side} {len(of)}' for side, of in sides.items())} of {total} intervals"


def confusion_headline(names: Sequence[str], matrices: Sequence[tuple[Row, np.ndarray]]) -> str:
    """Return the confusion that is the most frequent one in most conditions all of whose runs trained.

    Args:
        names: of the classes.
        matrices: condition and its matrix as drawn, (K, K), each row the shares of a true class.
    """
    counted = [(row, matrix) for row, matrix in matrices if row.count("trained") == len(row.records)]
    if not counted:
        return "Every condition has runs that did not train"
    worst = {row.label: found for row, matrix in counted if (found := _worst_confusion(matrix)) is not None}
    if not worst:
        return "No class is taken for another"
    times = Counter(pair for pair, _ in worst.values())
    most = max(times.values())
    pair, _ = max((entry for entry in worst.values() if times[entry[0]] == most), key=lambda entry: entry[1])
    shares = {label: share for label, (at, share) in worst.items() if at == pair}
    low, high = (f"{100 * share:.0f}" for share in (min(shares.values()), max(shares.values())))
    spoken = f"{low} %" if low == high else f"{low} to {high} %"
    where = _where(list(shares), len(counted), len(matrices))
    return f"Most frequent confusion {where}: {names[pair[0]]} taken for {names[pair[1]]} ({spoken} of its rows)"


def _worst_confusion(matrix: np.ndarray) -> tuple[tuple[int, int], float] | None:
    """Return true and predicted class of the largest share off the diagonal, and the share; None where all are 0."""
    off = matrix - np.diag(np.diag(matrix))
    true, predicted = divmod(int(off.argmax()), len(off))
    return ((true, predicted), float(off[true, predicted])) if off[true, predicted] > 0 else None


def _where(labels: Sequence[str], trained: int, drawn: int) -> str:
    if len(labels) == 1:
        return f"in {labels[0]}"
    which = "conditions" if trained == drawn else "conditions that trained in every run"
    return f"in {len(labels)} of {trained} {which}" if len(labels) < trained else f"in all {trained} {which}"
