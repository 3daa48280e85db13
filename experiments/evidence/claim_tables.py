"""Answered claims as tables of every number: ``effects.csv`` and, of what no report has, ``values.csv``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from experiments.evidence.claim import Claim, Comparison
from experiments.evidence.effects import AnsweredComparison, HasInterval, MeasuredEffect, Value
from experiments.evidence.measures import MEASURES
from experiments.reporting.render import TextTable
from experiments.runs.naming import WITHOUT_NETWORK
from experiments.statistics.censoring import Time
from experiments.statistics.words import EQUIVALENCE, POWER_AT, WordPower

EFFECTS, VALUES = "effects.csv", "values.csv"
POOLED, TOGETHER, NEW = "pooled", "together", "new corpus"
"""What a line of ``effects.csv`` speaks of, besides a corpus: natural text by random effects, all pairs of these
corpora, and the true effect on one more corpus."""
EFFECT_COLUMNS = [
    *("kind", "number", "claim", "comparison", "lead", "grid", "measure", "unit", "delta", "where", "mean", "low"),
    *("high", "low_90", "high_90", "word", "bound", "pairs", "sources", "interval_over", "weakest"),
    *(f"power_{times}" for times in POWER_AT),
    *("power_none", "treatment_trained", "control_trained", "steps", "rows"),
]
VALUE_COLUMNS = ["claim", "comparison", "corpus", "measure", "seed", "treatment", "control"]


def effects_of(claims: Sequence[Claim], answers: Mapping[str, Sequence[AnsweredComparison]]) -> TextTable:
    """Return a line per comparison and corpus, then one for the effect over corpora and one for a new corpus."""
    lines = []
    for claim in claims:
        for answered in answers[claim.id]:
            comparison = answered.comparison
            names = [claim.kind, str(claim.number), claim.id, comparison.id, "yes" if comparison.lead else "no"]
            names += [comparison.grid, comparison.metric, MEASURES[comparison.metric].unit, digits(comparison.delta)]
            lines += [[*names, *line] for line in _lines(answered)]
    return TextTable(EFFECT_COLUMNS, lines)


def _lines(answered: AnsweredComparison) -> Iterator[list[str]]:
    comparison = answered.comparison
    for corpus, each in answered.by_corpus.items():
        numbers = _numbers(each.effect, each.said, bound_of(each), each.pairs, None, each.covers, each.weakest)
        endings = [f"{side.trained} of {side.runs}" for side in each.trained or ()] or ["", ""]
        steps, rows = budget_numbers(each)
        ends = [f"{number}" if number else "" for number in (steps, rows)]
        yield [corpus, *numbers, *_power(each.power(comparison.delta)), *endings, *ends]
    if (pooled := answered.pooled) is not None:
        bound = bound_of(answered)
        numbers = _numbers(pooled, answered.word, bound, None, pooled.count, "seeds, test rows and corpora", "")
        yield [POOLED, *numbers, *_power(answered.power), *[""] * 4]
        low, high = pooled.prediction() or (None, None)
        ends = [digits(pooled.mean), digits(low), digits(high)]
        yield [NEW, *ends, *[""] * 5, str(pooled.count), *[""] * (len(EFFECT_COLUMNS) - 19)]
    if (together := answered.together) is not None:
        pairs, count = len(together.outcomes.favoured), len(answered.natural)
        yield [
            TOGETHER,
            *_numbers(together, answered.word, "", pairs, count, "runs, exact", ""),
            *_power(answered.power),
            *[""] * 4,
        ]


def _numbers(
    effect: HasInterval | None,
    said: str,
    bound: str,
    pairs: int | None,
    sources: int | None,
    covers: str,
    weakest: str,
) -> list[str]:
    wide = effect.interval() if effect else None
    narrow = effect.interval(EQUIVALENCE) if effect else None
    ends = [digits(end) for each in (wide, narrow) for end in each or (None, None)]
    counts = ["" if number is None else str(number) for number in (pairs, sources)]
    return [digits(effect.mean if effect else None), *ends, said, bound, *counts, covers, weakest]


def _power(power: WordPower | None) -> list[str]:
    if power is None:
        return [""] * (len(POWER_AT) + 1)
    return [*(digits(power.helps[times]) for times in POWER_AT), digits(power.no_difference)]


def bound_of(effect: MeasuredEffect | AnsweredComparison) -> str:
    """Return ``at least`` or ``at most`` where pairs only bound an effect; ``at least or at most`` where both do."""
    bounds = effect.bounds
    said = [name for name, count in (("at least", bounds.may_be_higher), ("at most", bounds.may_be_lower)) if count]
    return " or ".join(said)


def budget_numbers(effect: MeasuredEffect) -> tuple[int, int]:
    """Return the most optimiser steps and training rows of a comparison's runs; 0 where they are not recorded."""
    records = [record for row in effect.rows if row.condition not in WITHOUT_NETWORK for record in row.records]
    steps = [int(record.progress.get("steps") or 0) for record in records]
    rows = [int(record.data.get("rows", {}).get("train", 0)) for record in records]
    return max(steps, default=0), max(rows, default=0)


def values_of_seeds(claims: Sequence[Claim], answers: Mapping[str, Sequence[AnsweredComparison]]) -> TextTable:
    """Return the measure of every seed on both sides, of measures that no report of a grid has.

    ``<30`` is a time before the first validation at step 30, ``>500`` one beyond the budget.
    """
    lines = []
    for claim in claims:
        for answered in answers[claim.id]:
            if MEASURES[answered.comparison.metric].kind in ("value", "time"):
                for each in answered.by_corpus.values():
                    lines += [[claim.id, *line] for line in _seeds(answered.comparison, each)]
    return TextTable(VALUE_COLUMNS, lines)


def _seeds(comparison: Comparison, effect: MeasuredEffect) -> Iterator[list[str]]:
    for seed in sorted(effect.treatment.keys() | effect.control.keys()):
        cells = [spelled(side.get(seed)) for side in (effect.treatment, effect.control)]
        yield [comparison.id, effect.corpus, comparison.metric, str(seed), *cells]


def spelled(value: Value) -> str:
    """Return a value as a cell; a time with the mark of its bound."""
    if isinstance(value, Time):
        return f"{'>' if not value.reached else '<' if value.at_first_look else ''}{digits(value.value)}"
    return digits(value)


def digits(value: float | None) -> str:
    """Return a number with six significant digits; nothing for what is not known."""
    return "" if value is None else f"{value:.6g}"
