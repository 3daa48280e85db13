"""What the numbers say, as sentences of at most 25 words computed from them: the findings, and titles of figures.

A function that speaks of a figure returns its one-line title, without a full stop, and the sentences of its caption.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import ceil, floor, log10
from statistics import fmean, median

import numpy as np

from experiments.reporting.curves import SweptCurve, SweptPanel, first_steps
from experiments.reporting.frame import Description, Row, first_step_reaching, label_of
from experiments.reporting.render import (
    interval,
    joined,
    mean_and_sd,
    plural,
    rounded,
    spoken_name,
    spoken_setting,
    spoken_value,
)
from experiments.runs.canonical import canonical_json
from experiments.runs.gradient_ratio import DECADES, log_gradient_ratios
from experiments.runs.naming import WITHOUT_NETWORK, order_conditions, spell
from experiments.runs.record import Record, Status
from experiments.runs.store import Evidence
from experiments.statistics.components import SEEDS_ONLY
from experiments.statistics.seeds import FEWEST_PAIRS

UNUSUAL: tuple[Status, ...] = ("collapsed", "diverged", "failed", "no_parent")
ENDINGS: dict[Status, str] = {"no_parent": "had no start to train from"}
"""How a run ended, in words, for a status that does not say it."""
MOST_NAMED = 2
"""Conditions that a sentence names before it counts the rest."""
ALIKE = 1.05
"""Factor up to which two gradients are called about equal."""
CHANGES = {"hold": "Holds", "fall": "Falls", "rise": "Rises"}
CHANGE_RULE = "A curve falls or rises if the 95 % interval of its change, paired by seed, excludes zero; else it holds."

Sentences = tuple[str, list[str]]
"""A title in one line, and the sentences of a caption."""


def findings(rows: Sequence[Row]) -> list[str]:
    """Return a few sentences: who leads and how surely, where the TF-IDF baseline lies, how the runs ended."""
    return [*leader(rows), *against_tfidf(rows), *_endings(rows)]


def leader(rows: Sequence[Row]) -> list[str]:
    """Return which network scores best on the test split, which one is next, and whether the seeds support the lead."""
    metric = rows[0].task.primary_metric
    scored = [row for row in rows if row.condition not in WITHOUT_NETWORK and _is_scored(row)]
    if not scored:
        return ["No final run of a network has test scores."]
    best, *others = sorted(scored, key=_mean, reverse=metric.higher_is_better)
    extreme = "highest" if metric.higher_is_better else "lowest"
    found = [f"{best.label} has the {extreme} test {metric.title}: {_with_interval(best)}."]
    if others:
        found.append(f"Next comes {others[0].label}: {_with_interval(others[0])}.")
        lead = best.minus(others[0])
        if lead.count < FEWEST_PAIRS:
            return [*found, "They share fewer than two seeds, so their difference has no interval."]
        if lead.low is None or lead.high is None:
            return [*found, "Their difference never varies, so it has no interval."]
        estimate = best.effect(others[0])
        over = estimate.covers if estimate else SEEDS_ONLY
        found.append(f"They differ by {rounded(lead.mean)}, 95 % interval {interval(lead)}: {over}, paired.")
        zero = "excludes zero" if lead.low > 0 or lead.high < 0 else "includes zero, so the two are not told apart"
        found.append(f"That interval {zero} ({lead.count} seeds).")
    return found


def against_tfidf(rows: Sequence[Row]) -> list[str]:
    """Return how many networks' intervals lie above, around and below each TF-IDF baseline."""
    found = []
    for baseline in (row for row in rows if row.condition in WITHOUT_NETWORK and _is_scored(row)):
        level = _mean(baseline)
        spreads = [
            row.score
            for row in rows
            if row.condition not in WITHOUT_NETWORK and row.score.low is not None and baseline.applies_to(row.swept)
        ]
        if not spreads:
            found.append(f"{baseline.label} reaches {rounded(level)}.")
            continue
        above = sum(values.low is not None and values.low > level for values in spreads)
        below = sum(values.high is not None and values.high < level for values in spreads)
        around = len(spreads) - above - below
        found.append(
            f"{baseline.label} reaches {rounded(level)}: of {plural(len(spreads), 'interval')}, {above} above it, "
            f"{around} around it, {below} below it."
        )
    return found


def _endings(rows: Sequence[Row]) -> list[str]:
    """Return how the final runs ended, by condition over all swept values; the table of scores has each setting's."""
    made: Counter[str] = Counter()
    for row in rows:
        made[row.title] += len(row.records)
    found = []
    for status in UNUSUAL:
        ended: Counter[str] = Counter()
        for row in rows:
            ended[row.title] += row.count(status)
        if ended.total():
            where = [f"{title}, {count} of {made[title]}" for title, count in ended.most_common() if count]
            how = ENDINGS.get(status, status)
            found.append(f"{ended.total()} of {plural(made.total(), 'final run')} {how}: {_listing(where)}.")
    if found:
        return found
    return ["The only final run trained." if made.total() == 1 else f"All {made.total()} final runs trained."]


def trial_outcomes(evidence: Evidence, description: Description) -> list[str]:
    """Return how the tuning trials ended; nothing if there were none."""
    if not evidence.trials:
        return []
    total, found = plural(len(evidence.trials), "tuning trial"), []
    for status in UNUSUAL:
        ended = Counter(trial.condition for trial in evidence.trials if trial.outcome.status == status)
        if ended:
            names = sorted(order_conditions(ended, description.conditions), key=lambda name: -ended[name])
            where = [f"{description.title_of(name)}, {ended[name]}" for name in names]
            found.append(f"{ended.total()} of {total} {ENDINGS.get(status, status)}: {_listing(where)}.")
    return found or [f"None of {total} collapsed or diverged."]


def unfinished(rows: Sequence[Row], description: Description) -> list[str]:
    """Return sentences about what the grid plans and nobody has run yet, or not with every seed."""
    made = {(row.condition, canonical_json(row.swept)): {record.seed for record in row.records} for row in rows}
    found: dict[int, list[str]] = {}
    for condition, swept in description.planned:
        seeds = made.get((condition, canonical_json(dict(swept))), set())
        wanted = set(description.seeds) if condition not in WITHOUT_NETWORK else set()
        if not seeds or not wanted <= seeds:
            found.setdefault(len(wanted & seeds), []).append(label_of(description.title_of(condition), swept))
    planned = plural(len(description.seeds), "seed")
    return [
        f"The grid is not finished. {f'{count} of {planned}' if count else 'No final run yet'}: "
        f"{_listing(found[count])}."
        for count in sorted(found)
    ]


def budget(rows: Sequence[Row]) -> str:
    """Return the steps, rows and seeds on which every result of the report depends."""
    trained = [row for row in rows if row.condition not in WITHOUT_NETWORK]
    records = [record for row in trained for record in row.records]
    steps = [record.progress.get("steps") for record in records if record.outcome.status in ("trained", "collapsed")]
    seen = [record.data["rows"].get("train") for record in records if "rows" in record.data]
    parts = []
    if any(steps):
        parts.append(f"{_stretch_of(steps)} optimiser steps")
    if any(seen):
        parts.append(f"{_stretch_of(seen)} training rows")
    seeds = sorted({len(row.records) for row in trained})
    if seeds:
        counts = plural(seeds[0], "seed") if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
        parts.append(f"{counts} per condition")
    return f"Budget: {', '.join(parts)}." if parts else ""


def loss_sentences(rows: Sequence[Row]) -> Sentences:
    """Say where validation loss falls lowest, and where in no run it gets below the class prior's entropy."""
    least = {row.label: (row, _least_losses(row)) for row in rows}
    known = [(fmean(found), label) for label, (_, found) in least.items() if found]
    if not known:
        return "No run was validated", []
    loss, label = min(known)
    subject = "Validation loss falls" if len(known) == 1 else f"Validation loss falls lowest in {label}:"
    caption = ["Its least value is taken for each seed, then the mean over seeds."] if len(least[label][1]) > 1 else []
    stuck = [
        name
        for name, (row, found) in least.items()
        if found and (entropy := prior_entropy(row)) is not None and min(found) >= entropy
    ]
    if stuck:
        caption.append(f"It never gets below the class prior in {_listing(stuck)}.")
    return f"{subject} to {loss:.3g}", caption


def _least_losses(row: Row) -> list[float]:
    losses = ((record.history.get("validation") or {}).get("loss") or [] for record in row.records)
    finite = [[loss for loss in found if loss is not None] for found in losses]
    return [min(found) for found in finite if found]


def prior_entropy(row: Row) -> float | None:
    """Return the cross-entropy, in nats, of a classifier that ignores the text; None for another loss or task."""
    scores = next((record.validation for record in row.records if record.validation), None)
    model = row.records[0].config.get("model") or {}
    plain = model.get("loss", "cross_entropy") == "cross_entropy" and not model.get("label_smoothing")
    if scores is None or not plain or "per_class" not in scores.details:
        return None
    counts = np.array([int(entry["support"]) for entry in scores.details["per_class"]], dtype=float)
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def learning_sentences(rows: Sequence[Row]) -> Sentences:
    """Say who reaches the target on validation first, and who never does; without a target who scores best."""
    aimed = [row for row in rows if row.target is not None and row.condition not in WITHOUT_NETWORK]
    if not aimed:
        return _best_on_validation(rows), []
    medians = {row.label: row.steps_to_target for row in aimed if row.steps_to_target is not None}
    target = f"90 % of TF-IDF's validation score ({rounded(aimed[0].target, 2)})"
    if not medians:
        return f"In no condition do half of the runs reach {target}", []
    soonest = min(medians.values())
    first = [label for label, steps in medians.items() if steps == soonest]
    never = [
        row.label
        for row in aimed
        if all(first_step_reaching(record, row.target or 0.0) is None for record in row.records)
    ]
    caption = [f"Never: {_listing(never)}."] if never else []
    if max(len(row.records) for row in aimed) > 1:
        caption.insert(0, "The step is the median over seeds.")
    verb, lead = "reaches" if len(first) == 1 else "reach", " first," if len(aimed) > len(first) else ""
    return f"{_listing(first)} {verb} {target}{lead} after {plural(soonest, 'step')}", caption


def _best_on_validation(rows: Sequence[Row]) -> str:
    metric, best = rows[0].task.primary_metric, {}
    choose = max if metric.higher_is_better else min
    for row in rows:
        curves = ((record.history.get("validation") or {}).get(metric.name) or [] for record in row.records)
        finite = [[score for score in curve if score is not None] for curve in curves]
        if any(finite):
            best[row.label] = fmean(choose(curve) for curve in finite if curve)
    if not best:
        return "No run was validated"
    label = choose(best, key=lambda name: best[name])
    return f"{label} does best on validation: {metric.title} {rounded(best[label])}, mean of each run's best"


def gradient_sentences(rows: Sequence[Row]) -> Sentences:
    """Say where the first block's gradient norm is furthest from the last one's when training starts."""
    found = [(exponent, row.label) for row in rows if (exponent := _starting_ratio(row)) is not None]
    if not found:
        return "No network has two blocks whose gradients can be compared", []
    (exponent, label), *others = sorted(found, key=lambda entry: -abs(entry[0]))
    title = f"First block's gradient over the last one's: {_times(exponent)} in {label}"
    if not others:
        return title, []
    named = "the other one" if len(others) == 1 else f"the {len(others)} others"
    return title, [f"Within {_rounded_up(10 ** max(abs(other) for other, _ in others))} times in {named}."]


def _starting_ratio(row: Row) -> float | None:
    """Return log₁₀ of the first block's over the last block's gradient norm, mean over first steps, then over runs."""

    def first_ratios(record: Record) -> list[float]:
        first = first_steps(record.history.get("gradient_norms") or {})
        return [ratio for step, ratio in log_gradient_ratios(record).items() if step in first]

    means = [fmean(found) for record in row.records if (found := first_ratios(record))]
    return fmean(means) if means else None


def ratio_title(rows: Sequence[Row]) -> str:
    """Say where the gradients' ratio strays furthest from 1, by the median over training of each seed."""
    typical = [
        (fmean(median(found.values()) for record in row.records if (found := log_gradient_ratios(record))), row)
        for row in rows
    ]
    exponent, row = max(typical, key=lambda entry: abs(entry[0]))
    bound = {-DECADES: "at most ", DECADES: "at least "}.get(exponent, "")
    setting = spoken_setting(row.swept)
    where = f"{row.title} ({setting})" if setting else row.title
    return f"First block's gradient over the last one's: furthest from 1 in {where}, {bound}{10**exponent:.2g}"


def sweep_sentences(name: str, panels: Sequence[SweptPanel]) -> Sentences:
    """Say how conditions change from the least to the greatest value, in the panel where they end furthest apart."""
    greatest = max(value for panel in panels for curve in panel.curves for value in curve.values)
    ends = {
        place: found
        for place, panel in enumerate(panels)
        if (found := [curve for curve in panel.curves if curve.values[-1] == greatest and _is_scored(curve.rows[-1])])
    }
    if not ends:
        return f"No run at {spoken_value(name, greatest)} has a score", []
    place = max(ends, key=lambda at: max(map(_end, ends[at])) - min(map(_end, ends[at])))
    metric = ends[place][0].rows[0].task.primary_metric
    curves = sorted(ends[place], key=_end, reverse=metric.higher_is_better)
    best, worst = curves[0], curves[-1]
    where = f" ({panels[place].title})" if panels[place].title else ""
    title = f"Test {metric.title} at {spoken_value(name, greatest)}{where}: best {_end_of(best)}"
    if len(curves) > 1:
        title += f", worst {_end_of(worst)}"
    least = min(value for curve in curves for value in curve.values)
    changes = {curve.label: change for curve in curves if (change := _change(curve)) is not None}
    caption = []
    for change, word in CHANGES.items():
        said = [_end_of(curve) for curve in curves if changes.get(curve.label) == change]
        if said:
            caption.append(f"{word} from {_stretch(name, least, greatest)}: {_listing(said, 3)}.")
    return title, [*caption, CHANGE_RULE] if caption else []


def _change(curve: SweptCurve) -> str | None:
    """Return what a curve does; None if its change has no interval."""
    if len(curve.rows) < 2:
        return None
    change = curve.rows[-1].minus(curve.rows[0])
    if change.low is None or change.high is None:
        return None
    return "fall" if change.high < 0 else "rise" if change.low > 0 else "hold"


def failure_title(rows: Sequence[Row]) -> str:
    """Say how many runs of a sweep collapsed and diverged, and which condition lost most of its own."""
    lost: Counter[str] = Counter()
    made: Counter[str] = Counter()
    for row in (row for row in rows if row.swept):
        lost[row.title] += row.failures
        made[row.title] += len(row.records)
    collapsed, diverged = (sum(row.count(status) for row in rows if row.swept) for status in ("collapsed", "diverged"))
    most = max(lost[title] / made[title] for title in lost)
    worst = [f"{title}, {lost[title]} of {made[title]}" for title in lost if lost[title] / made[title] == most]
    return f"Of {made.total()} runs {collapsed} collapsed and {diverged} diverged; most often {_listing(worst, 1)}"


def survival_title(largest: Mapping[str, float | None], swept: str, size: float, tuned: str) -> str:
    """Say with which values of a tuned setting training survives at the greatest size.

    Args:
        largest: the largest value that trained, by condition; None if no trial did.
        swept: the swept setting.
        size: its greatest value.
        tuned: the tuned setting.
    """
    trained = {title: value for title, value in largest.items() if value is not None}
    start = f"Largest {spoken_name(tuned)} that trained at {spoken_value(swept, size)}"
    if not trained:
        return f"{start}: none"
    most, least = (choose(trained, key=lambda title: trained[title]) for choose in (max, min))
    ends = [f"{most} {trained[most]:g}", *([f"{least} {trained[least]:g}"] if trained[least] < trained[most] else [])]
    none = [title for title, value in largest.items() if value is None]
    return f"{start}: {', '.join(ends)}" + (f"; none in {_listing(none, 1)}" if none else "")


def confusion_sentences(names: Sequence[str], matrices: Sequence[tuple[Row, np.ndarray]]) -> Sentences:
    """Say which confusion is the most frequent one in most conditions all of whose runs trained.

    Args:
        names: of the classes.
        matrices: condition and its matrix as drawn, (K, K), each row the shares of a true class.
    """
    counted = [(row, matrix) for row, matrix in matrices if row.count("trained") == len(row.records)]
    if not counted:
        return "Every condition has runs that did not train", []
    worst = {row.label: found for row, matrix in counted if (found := _worst_confusion(matrix)) is not None}
    if not worst:
        return "No class is taken for another", []
    times = Counter(pair for pair, _ in worst.values())
    most = max(times.values())
    pair, _ = max((entry for entry in worst.values() if times[entry[0]] == most), key=lambda entry: entry[1])
    shares = {label: share for label, (at, share) in worst.items() if at == pair}
    low, high = (f"{100 * share:.0f}" for share in (min(shares.values()), max(shares.values())))
    spoken = f"{low} %" if low == high else f"{low} to {high} %"
    if len(shares) == 1:
        where = next(iter(shares))
    else:
        which = "conditions" if len(counted) == len(matrices) else "conditions that trained in every run"
        where = (
            f"{len(shares)} of {len(counted)} {which}" if len(shares) < len(counted) else f"all {len(counted)} {which}"
        )
    title = f"Most frequent confusion: {names[pair[0]]} taken for {names[pair[1]]} ({spoken} of its rows)"
    return title, [f"It is the most frequent one in {where}."]


def _worst_confusion(matrix: np.ndarray) -> tuple[tuple[int, int], float] | None:
    """Return true and predicted class of the largest share off the diagonal, and the share; None if all are 0."""
    off = matrix - np.diag(np.diag(matrix))
    true, predicted = divmod(int(off.argmax()), len(off))
    return ((true, predicted), float(off[true, predicted])) if off[true, predicted] > 0 else None


def _mean(row: Row) -> float:
    mean = row.score.mean
    assert mean is not None, "only rows with scores are ranked"
    return mean


def _is_scored(row: Row) -> bool:
    return row.score.mean is not None


def _end(curve: SweptCurve) -> float:
    return _mean(curve.rows[-1])


def _end_of(curve: SweptCurve) -> str:
    return f"{curve.label} ({rounded(_end(curve))})"


def _with_interval(row: Row) -> str:
    within = "" if row.score.low is None else f", 95 % interval {interval(row.score)}"
    return f"{mean_and_sd(row.score)}{within} ({plural(row.score.count, 'run')})"


def _listing(names: Sequence[str], most: int = MOST_NAMED) -> str:
    return joined(names, most) or "none"


def _stretch(name: str, least: float, greatest: float) -> str:
    """Return ``1 to 24 layers`` or ``learning rate 0.0003 to 0.003``."""
    first, last = spoken_value(name, least), spoken_value(name, greatest)
    spelled = spell(greatest)
    return f"{spell(least)} to {last}" if last.startswith(spelled) else f"{first} to {spelled}"


def _stretch_of(counts: Iterable[int | None]) -> str:
    """Return ``500`` or ``1,000 to 5,021``."""
    known = sorted({count for count in counts if count})
    return " to ".join(f"{count:,}" for count in dict.fromkeys((known[0], known[-1])))


def _times(exponent: float) -> str:
    """Return how ``10**exponent`` compares with 1, such as ``1,200 times smaller``."""
    factor = 10 ** abs(exponent)
    if factor < ALIKE:
        return "about as large"
    bound = "at least " if abs(exponent) >= DECADES else ""
    return f"{bound}{_grouped(factor)} times {'smaller' if exponent < 0 else 'larger'}"


def _grouped(value: float) -> str:
    """Return two significant digits, thousands grouped; a power of ten if the number would be long."""
    if value >= 1e6:
        return f"{value:.0e}".replace("e+0", "e").replace("e+", "e").replace("e", " · 10^").removeprefix("1 · ")
    digits = max(0, 1 - floor(log10(value)))
    return f"{round(value, 1 - floor(log10(value))):,.{digits}f}"


def _rounded_up(value: float) -> str:
    """Return the value rounded up to two significant digits, so that it bounds."""
    unit = 10.0 ** (floor(log10(value)) - 1)
    return _grouped(ceil(value / unit - 1e-9) * unit)
