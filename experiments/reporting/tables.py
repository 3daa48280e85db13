"""The tables of a report. Each is a pure function of the evidence, once with every digit and once for reading."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from experiments.reporting.render import EMPTY, Grid, Table, interval, mean_and_sd, number
from experiments.reporting.rows import Row
from experiments.runs.naming import BASELINES, short_names, spell
from experiments.runs.record import Status
from experiments.statistics.seeds import Spread, paired_difference
from experiments.tasks import CLASSIFICATION
from lightning_modules.schemes.variants import VARIANTS, ancestors

METRICS = tuple(metric.name for metric in CLASSIFICATION.metrics)
OUTCOMES: tuple[Status, ...] = ("trained", "collapsed", "diverged")
COUNTS = ("norms", "skips", "parameters")
CLASS_MEASURES = ("accuracy", "precision", "recall", "f1")
TITLES = {
    "accuracy": "accuracy",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
    "macro_f1": "macro F1",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
}

SUMMARY_CAPTION = (
    "Test scores of the checkpoint that was best on validation, mean ± standard deviation over seeds, with the 95 % "
    "t-interval of mean macro F1. Means are over the runs that have scores: diverged runs have none and stand in their "
    "column; collapsed runs count in the means. Steps to target: median optimiser steps until validation macro F1 "
    "reached 90 % of the TF-IDF baseline's, read at validations (one that reached it before the first counts as that "
    "one; the report of the claims reads between validations instead), empty where more than half of the seeds never "
    "reached it. Generalisation gap: macro F1 on a fixed sample of training rows minus macro F1 on validation."
)
PER_CLASS_CAPTION = (
    "Test scores per class, mean ± standard deviation over seeds. Accuracy is one-vs-rest, (TP + TN) / N, which "
    "counts the true negatives of all other classes and so flatters rare classes."
)
TUNING_CAPTION = (
    "Every tuning trial, by macro F1 on validation; the test split was not read. Edge: the chosen value is the "
    "smallest or largest that was tried (of numbers above 0), so a better one may lie beyond."
)
FURTHER_CAPTION = (
    "Further: beside the listed trials every variant got the same number of further ones, each beyond its best value "
    "where that lay at an edge, else between it and a neighbour."
)
EFFECTS_CAPTION = (
    "Difference in test macro F1 between a variant and the nearest one it was derived from, and others from which it "
    "takes one part, paired by seed: mean with its 95 % t-interval over the seeds that both have scores for. The "
    "intervals are not adjusted for their number. Where all runs of both collapsed, their difference says nothing."
)
BOTH_COLLAPSED = "both collapsed"


def summary_table(rows: Sequence[Row]) -> Table:
    """Return one row per condition: counts, outcomes and the spread of every test metric."""
    names = _swept(rows)
    spreads = [f"{metric}{suffix}" for metric in METRICS for suffix in ("", "_sd", "_ci_low", "_ci_high")]
    data, reading = [], []
    for row in rows:
        values = [_at(row, name) for name in names]
        counts = [_said(row.fact(name)) for name in COUNTS]
        outcomes = [str(len(row.records)), *(str(row.count(status)) for status in OUTCOMES)]
        tests = [row.test(metric) for metric in METRICS]
        last = [_said(row.steps_to_target), number(row.generalisation_gap.mean)]
        data.append(
            [row.condition, *values, *counts, *outcomes, *(cell for test in tests for cell in _all(test)), *last]
        )
        shown = [mean_and_sd(tests[-1]), interval(tests[-1]), *(mean_and_sd(test) for test in tests[:-1])]
        gap = mean_and_sd(row.generalisation_gap)
        reading.append([row.title, *values, *counts, *outcomes, *shown, last[0] or EMPTY, gap])
    labels = list(short_names(names).values())
    tail = ["steps_to_target", "generalisation_gap"]
    metrics = ["macro F1", "95 % interval", *(TITLES[metric] for metric in METRICS[:-1])]
    return Table(
        "summary",
        SUMMARY_CAPTION,
        Grid(["variant", *labels, *COUNTS, "seeds", *OUTCOMES, *spreads, *tail], data),
        Grid(
            [
                "variant",
                *_spoken(labels),
                *COUNTS,
                "seeds",
                *OUTCOMES,
                *metrics,
                "steps to target",
                "generalisation gap",
            ],
            reading,
        ),
    )


def per_class_table(rows: Sequence[Row]) -> Table:
    """Return one row per condition and class."""
    names = _swept(rows)
    data, reading = [], []
    for row in rows:
        values = [_at(row, name) for name in names]
        for name, support, spreads in class_rows(row):
            both = [cell for values_ in spreads for cell in (number(values_.mean), number(values_.sd))]
            data.append([row.condition, *values, name, str(support), *both])
            reading.append([row.title, *values, name, str(support), *(mean_and_sd(values_) for values_ in spreads)])
    labels = list(short_names(names).values())
    measures = [f"{measure}{suffix}" for measure in CLASS_MEASURES for suffix in ("", "_sd")]
    shown = [TITLES[measure] for measure in CLASS_MEASURES]
    return Table(
        "per_class",
        PER_CLASS_CAPTION,
        Grid(["variant", *labels, "class", "support", *measures], data),
        Grid(["variant", *_spoken(labels), "class", "support", *shown], reading),
    )


def article_table(row: Row) -> Grid:
    """Return the article's table for one condition: a row per class, and the overall row."""
    lines = [
        [name, str(support), *(mean_and_sd(values) for values in spreads)] for name, support, spreads in class_rows(row)
    ]
    total = sum(support for _, support, _ in class_rows(row))
    lines.append(["overall", str(total), *(mean_and_sd(row.test(metric)) for metric in METRICS)])
    return Grid(["class", "support", *(TITLES[measure] for measure in CLASS_MEASURES)], lines)


def class_rows(row: Row) -> list[tuple[str, int, list[Spread]]]:
    """Return name, support and the spread of every measure for each class; none where no run has scores."""
    if not row.scored:
        return []
    classes = row.scored[0][1].details["per_class"]
    return [
        (str(entry["class"]), int(entry["support"]), [row.per_class(index, measure) for measure in CLASS_MEASURES])
        for index, entry in enumerate(classes)
    ]


def effects_table(rows: Sequence[Row]) -> Table:
    """Return the paired difference between every variant and those it was derived from at the same swept values."""
    names = _swept(rows)
    data, reading = [], []
    pairs = [(row, origin) for row in rows for origin in origins_of(row, rows)]
    for row, origin in pairs:
        effect = macro_f1_difference(row, origin)
        values = [_at(row, name) for name in names]
        data.append([row.condition, *values, origin.condition, str(effect.count), *_all(effect)])
        learnt_nothing = row.all_collapsed and origin.all_collapsed
        shown = [BOTH_COLLAPSED, EMPTY] if learnt_nothing else [mean_and_sd(effect), interval(effect)]
        reading.append([f"{row.title} − {origin.title}", *values, str(effect.count), *shown])
    labels = list(short_names(names).values())
    spreads = [f"macro_f1_difference{suffix}" for suffix in ("", "_sd", "_ci_low", "_ci_high")]
    return Table(
        "effects",
        EFFECTS_CAPTION,
        Grid(["variant", *labels, "parent", "paired_seeds", *spreads], data),
        Grid(["difference", *_spoken(labels), "paired seeds", "macro F1", "95 % interval"], reading),
    )


def origins_of(row: Row, rows: Sequence[Row]) -> list[Row]:
    """Return the rows that a variant is compared with, at the same swept values.

    First the nearest one it was derived from, then those that :attr:`Variant.also_without` names.
    """
    if row.condition in BASELINES or row.condition not in VARIANTS:
        return []
    variant = VARIANTS[row.condition]
    peers = {other.condition: other for other in rows if other.swept == row.swept}
    nearest = next((name for name in ancestors(variant) if name in peers), None)
    names = dict.fromkeys([nearest, *variant.also_without])
    return [peers[name] for name in names if name in peers]


def macro_f1_difference(row: Row, other: Row) -> Spread:
    """Return the spread of ``row`` minus ``other`` in test macro-F1 over the seeds that both have scores for."""
    first, second = (
        {seed: value for seed, scores in side.scored if (value := scores.metrics["macro_f1"]) is not None}
        for side in (row, other)
    )
    return paired_difference(first, second).spread()


def _swept(rows: Sequence[Row]) -> list[str]:
    return sorted({name for row in rows for name in row.swept})


def _spoken(labels: Sequence[str]) -> list[str]:
    return [label.replace("_", " ") for label in labels]


def _said(value: Any) -> str:
    return "" if value is None else spell(value)


def _at(row: Row, name: str) -> str:
    """Return a swept value: ``none`` where the setting is switched off, nothing where the row is not swept."""
    return spell(row.swept[name]) if name in row.swept else ""


def _all(values: Spread) -> list[str]:
    return [number(part) for part in (values.mean, values.sd, values.low, values.high)]
