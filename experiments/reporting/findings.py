"""What the numbers say, as sentences computed from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from experiments.reporting.render import interval, mean_and_sd, plural, rounded
from experiments.reporting.rows import Description, Row, label_of
from experiments.reporting.tables import macro_f1_difference
from experiments.runs.canonical import canonical_json
from experiments.runs.naming import TFIDF
from experiments.runs.record import Status
from experiments.statistics.seeds import Spread

UNUSUAL: tuple[Status, ...] = ("collapsed", "diverged", "failed")


def findings(rows: Sequence[Row]) -> list[str]:
    """Return a few sentences: who leads and how surely, how the TF-IDF baseline stands, how the runs ended."""
    return [*_leader(rows), *_against_tfidf(rows), _outcomes(rows)]


def unfinished(rows: Sequence[Row], description: Description) -> list[str]:
    """Return a sentence naming what the grid plans and nobody has run yet, or not with every seed; else none."""
    made = {(row.condition, canonical_json(row.swept)): {record.seed for record in row.records} for row in rows}
    found: dict[int, list[str]] = {}
    for condition, swept in description.planned:
        seeds = made.get((condition, canonical_json(dict(swept))), set())
        wanted = set(description.seeds) if condition != TFIDF else set()
        if not seeds or not wanted <= seeds:
            found.setdefault(len(wanted & seeds), []).append(label_of(description.title_of(condition), swept))
    seeds_planned = plural(len(description.seeds), "seed")
    heads = {count: f"{count} of {seeds_planned}" if count else "No final run yet" for count in sorted(found)}
    parts = [f"{head}: {', '.join(found[count])}." for count, head in heads.items()]
    return [" ".join(["The grid is not finished.", *parts])] if parts else []


def _leader(rows: Sequence[Row]) -> list[str]:
    ranked = sorted((row for row in rows if row.scored and row.condition != TFIDF), key=_mean, reverse=True)
    if not ranked:
        return ["No final run of a network has test scores."]
    best = ranked[0]
    sentences = [
        f"The network with the highest mean test macro F1 is {best.label}: {_with_interval(best.test('macro_f1'))}."
    ]
    if len(ranked) > 1:
        second = ranked[1]
        difference = macro_f1_difference(best, second)
        sentences.append(
            f"Next comes {second.label}: {_with_interval(second.test('macro_f1'))}. {_verdict(difference)}"
        )
    return sentences


def _verdict(difference: Spread) -> str:
    if difference.low is None or difference.high is None:
        return "They share fewer than two seeds, so the difference has no interval."
    apart = difference.low > 0 or difference.high < 0
    judgement = "excludes zero" if apart else "includes zero, so these runs do not tell the two apart"
    return (
        f"Paired by seed they differ by {rounded(difference.mean)}, 95 % interval {interval(difference)} "
        f"({difference.count} seeds, not adjusted for choosing the best of several), which {judgement}."
    )


def _against_tfidf(rows: Sequence[Row]) -> list[str]:
    sentences = []
    for baseline in (row for row in rows if row.condition == TFIDF and row.scored):
        level = _mean(baseline)
        others = [row for row in rows if row.condition != TFIDF and baseline.applies_to(row.swept)]
        above = [row.label for row in others if (low := row.test("macro_f1").low) is not None and low > level]
        below = [row.label for row in others if (high := row.test("macro_f1").high) is not None and high < level]
        sentences.append(
            f"{baseline.label} reaches {rounded(level)}. Interval wholly above it: {_listing(above)}; "
            f"wholly below it: {_listing(below)}."
        )
    return sentences


def _outcomes(rows: Sequence[Row]) -> str:
    """Return how the runs ended, by condition over all swept values; the table of scores has each setting's."""
    made: Counter[str] = Counter()
    for row in rows:
        made[row.title] += len(row.records)
    parts = []
    for status in UNUSUAL:
        ended: Counter[str] = Counter()
        for row in rows:
            ended[row.title] += row.count(status)
        where = [f"{title}, {count} of {made[title]}" for title, count in ended.items() if count]
        if where:
            parts.append(f"{ended.total()} {status} ({'; '.join(where)})")
    if parts:
        return f"Of {plural(made.total(), 'final run')}, {' and '.join(parts)}."
    return "The only final run trained." if made.total() == 1 else f"All {made.total()} final runs trained."


def _with_interval(values: Spread) -> str:
    within = "" if values.low is None else f", 95 % interval {interval(values)}"
    return f"{mean_and_sd(values)}{within} ({plural(values.count, 'run')})"


def _listing(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _mean(row: Row) -> float:
    mean = row.test("macro_f1").mean
    assert mean is not None, "only rows with scores are ranked"
    return mean
