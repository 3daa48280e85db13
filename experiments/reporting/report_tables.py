"""The tables of a report: each is one DataFrame, written with every digit for programs and rounded for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from experiments.reporting.frame import Row, covered, metrics_of, swept_names
from experiments.reporting.render import EMPTY, TextTable, interval, mean_and_sd, number, rounded
from experiments.runs.naming import BASELINES, TFIDF, short_names, spell
from experiments.runs.record import Status
from experiments.statistics.seeds import Spread, spread
from experiments.statistics.words import BOTH_DEAD, DELTA, POWER_AT, holds_in_family, said_of, word_power
from lightning_modules.schemes.variants import VARIANTS, ancestors

OUTCOMES: tuple[Status, ...] = ("trained", "collapsed", "diverged")
COUNTS = ("norms", "skips", "parameters")
CLASS_MEASURES = {"accuracy": "accuracy", "precision": "precision", "recall": "recall", "f1": "F1"}
"""Measures of one class and their titles."""

SUMMARY_CAPTION = (
    "Test scores of the checkpoint that was best on validation: mean ± standard deviation over seeds. The interval is "
    "the 95 % interval of the mean {primary} over {covers}. Collapsed runs count in the means; diverged runs have no "
    "score and are counted in their column. Still rising: runs whose best checkpoint is their last, so that more steps "
    "might help. {target}"
    "Generalisation gap: {primary} on a fixed sample of training rows minus {primary} on validation."
)
TARGET_CAPTION = (
    "Steps to target: median optimiser steps until validation {primary} reached 90 % of the TF-IDF baseline's. They "
    "are read at validations, and empty if more than half of the seeds never reached it. "
)
TRAINED_CAPTION = (
    "Share trained: with its exact 95 % interval (Clopper and Pearson). Median of trained: of the runs that trained "
    "alone, since a mean over trained and failed runs is the score of neither."
)
PER_CLASS_CAPTION = (
    "Test scores per class, mean ± standard deviation over seeds. Accuracy is one-vs-rest, (TP + TN) / N. It counts "
    "the true negatives of all other classes and so flatters rare classes."
)
EFFECTS_CAPTION = (
    "Difference in test {primary} between a variant and the nearest one it was derived from. A variant that takes one "
    "part from others is compared with these too. Differences are paired by test rows and by seed: mean with its 95 % "
    "interval over {covers}. The word is for a difference of δ = {delta:g} that matters. It helps or harms where the "
    "interval excludes 0 and does not lie inside ±δ. There is no difference that matters where the 90 % interval lies "
    "inside ±δ. A star: Holm's procedure at 5 % over all differences of this table sets it apart from 0. Power: the "
    "chance of helps or harms if the true difference is 2δ. Where runs of a side failed, their counts take the word's "
    "place. Where none trained on both sides, the difference says nothing."
)


@dataclass(frozen=True)
class ReportTable:
    """One table. Its frame has a line per row; the files and the page pick and name the columns they show."""

    name: str
    """Stem of its files."""
    caption: str
    frame: pd.DataFrame
    exact: Mapping[str, str]
    """Names of the CSV file's columns, every digit, by the column behind each."""
    shown: Mapping[str, str]
    """Titles of the columns for people by the column behind each; a ``±`` or an interval is made of its parts."""

    @property
    def data(self) -> TextTable:
        """The table for programs: numbers with six decimals, and empty cells for missing values."""
        lines = self.frame[list(self.exact)].itertuples(index=False)
        return TextTable(list(self.exact.values()), [[exact_cell(value) for value in line] for line in lines])

    @property
    def reading(self) -> TextTable:
        """The table for people: ``mean ± sd``, intervals and rounded numbers."""
        lines = self.frame.to_dict("records")
        return TextTable(list(self.shown.values()), [[shown_cell(line, name) for name in self.shown] for line in lines])


def exact_cell(value: Any) -> str:
    """Return a value of a frame as a CSV file holds it."""
    if isinstance(value, float):
        return number(value)
    return "" if value is None else str(value)


def shown_cell(line: Mapping[Any, Any], name: str) -> str:
    """Return a column of a frame's line as a person reads it.

    ``f1_ci`` is the interval from ``f1_ci_low`` to ``f1_ci_high``; a column with a neighbour ``f1_sd`` has ``± sd``.
    """
    if f"{name}_low" in line:
        return interval(Spread(2, low=_known(line[f"{name}_low"]), high=_known(line[f"{name}_high"])))
    value = line[name]
    if f"{name}_sd" in line:
        return mean_and_sd(Spread(2, _known(value), _known(line[f"{name}_sd"])))
    if value is None or isinstance(value, float):
        return rounded(value)
    return str(value)


def summary_table(rows: Sequence[Row]) -> ReportTable:
    """Return one row per condition: counts, outcomes and the spread of every test metric."""
    task, metrics = rows[0].task, metrics_of([record for row in rows for record in row.records])
    swept = SweptColumns(swept_names(rows))
    lines = []
    for row in rows:
        line: dict[str, Any] = {"variant": row.condition, "title": row.title, **swept.of(row.swept)}
        line |= {name: _spelled(row.fact(name)) for name in COUNTS} | {"seeds": len(row.records)}
        line |= {status: row.count(status) for status in (*OUTCOMES, "no_parent")} | _failures(row)
        for metric in metrics:
            line |= _parts(metric.name, row.test(metric.name))
        line |= {"interval_over": estimate.covers if (estimate := row.estimate(task.primary)) else ""}
        line |= {"steps_to_target": _spelled(row.steps_to_target), **_parts("generalisation_gap", row.gap)}
        lines.append(line | {"steps": line["steps_to_target"] or EMPTY})
    parts = [f"{metric.name}{suffix}" for metric in metrics for suffix in ("", "_sd", "_ci_low", "_ci_high")]
    orphans: list[Status] = ["no_parent"] if any(row.count("no_parent") for row in rows) else []
    outcomes = [*OUTCOMES, *orphans]
    middle, title = [*COUNTS, "seeds", *outcomes], task.primary_metric.title
    has_target = TFIDF in task.baselines
    trained = ["share_trained_low", "share_trained_high", "median_of_trained", "still_rising"]
    marks = {"rising": "still rising"} if any(row.still_rising for row in rows) else {}
    if any(row.failures for row in rows):
        marks |= {"share": "share trained", "median_of_trained": "median of trained"}
    target = TARGET_CAPTION.format(primary=title) if has_target else ""
    caption = SUMMARY_CAPTION.format(primary=title, covers=covered(rows), target=target)
    titles = {task.primary: task.primary_metric.title, f"{task.primary}_ci": "95 % interval"}
    titles |= {metric.name: metric.title for metric in metrics if metric.name != task.primary}
    return ReportTable(
        "summary",
        caption + (f" {TRAINED_CAPTION}" if "share" in marks else ""),
        pd.DataFrame(lines),
        swept.between(
            ["variant"],
            [*middle, *trained, *parts, "interval_over", *["steps_to_target"] * has_target, "generalisation_gap"],
        ),
        {
            **{
                "title": "variant",
                **swept.titles,
                **{name: name.replace("_", " ") for name in middle},
                **marks,
                **titles,
            },
            **({"steps": "steps to target"} if has_target else {}),
            "generalisation_gap": "generalisation gap",
        },
    )


def _failures(row: Row) -> dict[str, Any]:
    """Return the columns that say how many runs trained, how those did, and which might have gone on to learn."""
    found, rising = row.trained, row.still_rising
    shown = f"{found.trained / found.runs:.2f} [{found.low:.2f}, {found.high:.2f}]"
    return {
        "share": shown,
        "share_trained_low": found.low,
        "share_trained_high": found.high,
        "median_of_trained": found.median,
        "still_rising": rising,
        "rising": f"{rising} of {found.runs}" if rising else EMPTY,
    }


def per_class_table(rows: Sequence[Row]) -> ReportTable:
    """Return one row per condition and class."""
    swept = SweptColumns(swept_names(rows))
    lines = [
        {"variant": row.condition, "title": row.title, **swept.of(row.swept), **line}
        for row in rows
        for line in class_lines(row)
    ]
    measures = [f"{measure}{suffix}" for measure in CLASS_MEASURES for suffix in ("", "_sd")]
    return ReportTable(
        "per_class",
        PER_CLASS_CAPTION,
        pd.DataFrame(lines),
        swept.between(["variant"], ["class", "support", *measures]),
        {"title": "variant", **swept.titles, "class": "class", "support": "support", **CLASS_MEASURES},
    )


def article_table(row: Row) -> TextTable:
    """Return the article's table for one condition: a row per class, and the overall row with the macro averages."""
    lines = class_lines(row)
    overall = {"class": "overall", "support": sum(line["support"] for line in lines)}
    for measure in CLASS_MEASURES:
        overall |= _parts(measure, row.test(measure if measure == "accuracy" else f"macro_{measure}"))
    titles = {"class": "class", "support": "support", **CLASS_MEASURES}
    return ReportTable("article", "", pd.DataFrame([*lines, overall]), {}, titles).reading


def class_lines(row: Row) -> list[dict[str, Any]]:
    """Return name, support and the spread of every measure for each class; nothing if no run has scores."""
    by_run = [scores.details["per_class"] for scores in row.scored]
    lines = []
    for entries in zip(*by_run, strict=True):
        line = {"class": str(entries[0]["class"]), "support": int(entries[0]["support"])}
        for measure in CLASS_MEASURES:
            line |= _parts(measure, spread([float(entry[measure]) for entry in entries]))
        lines.append(line)
    return lines


def effects_table(rows: Sequence[Row], delta: float = DELTA) -> ReportTable:
    """Return the paired difference between every variant and those it was derived from at the same swept values.

    Args:
        rows: of a report.
        delta: smallest difference in the primary metric that matters.
    """
    swept, metric = SweptColumns(swept_names(rows)), rows[0].task.primary_metric
    name = f"{metric.name}_difference"
    lines = []
    pairs = [(row, origin) for row in rows for origin in origins_of(row, rows)]
    effects = [row.effect(origin) for row, origin in pairs]
    for (row, origin), estimate, holds in zip(pairs, effects, holds_in_family(effects), strict=True):
        effect = row.minus(origin)
        said = said_of(estimate, delta, row.endings, origin.endings, higher_is_better=metric.higher_is_better)
        power, learnt_nothing = word_power(estimate, delta), said == BOTH_DEAD
        line: dict[str, Any] = {
            "variant": row.condition,
            "title": f"{row.title} − {origin.title}",
            **swept.of(row.swept),
        }
        line |= {"parent": origin.condition, "paired_seeds": effect.count, **_parts(name, effect)}
        line |= {"shown": BOTH_DEAD if learnt_nothing else mean_and_sd(effect), "word": said}
        line |= {"interval": EMPTY if learnt_nothing else interval(effect), "holds": "yes" if holds else "no"}
        line |= {f"power_{times}": power.helps[times] if power else None for times in POWER_AT}
        line |= {"power_none": power.no_difference if power else None, "power": rounded(line["power_2"], 2)}
        line |= {"interval_over": estimate.covers if estimate else ""}
        lines.append(line | {"said": f"{said} *" if holds and said in ("helps", "harms") else said})
    parts = [f"{name}{suffix}" for suffix in ("", "_sd", "_ci_low", "_ci_high")]
    parts += ["interval_over", "word", "holds", *(f"power_{times}" for times in POWER_AT), "power_none"]
    titles = {"paired_seeds": "paired seeds", "shown": metric.title, "interval": "95 % interval"}
    titles |= {"said": "word", "power": "power at 2δ"}
    return ReportTable(
        "effects",
        EFFECTS_CAPTION.format(primary=metric.title, covers=covered(rows), delta=delta),
        pd.DataFrame(lines),
        swept.between(["variant"], ["parent", "paired_seeds", *parts]),
        {"title": "difference", **swept.titles, **titles},
    )


def origins_of(row: Row, rows: Sequence[Row]) -> list[Row]:
    """Return the rows that a variant is compared with, at the same swept values.

    First the nearest one that the variant was derived from, then those that :attr:`Variant.also_without` names.
    """
    if row.condition in BASELINES or row.condition not in VARIANTS:
        return []
    variant = VARIANTS[row.condition]
    peers = {other.condition: other for other in rows if other.swept == row.swept}
    nearest = next((name for name in ancestors(variant) if name in peers), None)
    names = dict.fromkeys([nearest, *variant.also_without])
    return [peers[name] for name in names if name in peers]


class SweptColumns:
    """The columns of settings: in a frame by their dotted names, in a table under the shortest that tell them apart."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = short_names(names)
        self.titles = {name: label.replace("_", " ") for name, label in self.names.items()}

    def of(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Return the values of one row: ``none`` for a setting that is switched off, nothing if it is not set."""
        return {name: spell(values[name]) if name in values else "" for name in self.names}

    def between(self, first: Sequence[str], last: Sequence[str]) -> dict[str, str]:
        """Return the names of a CSV file's columns, these settings between others.

        A setting whose short name another column has, such as ``precision``, keeps its dotted name.
        """
        taken = {*first, *last}
        settings = {name: name if label in taken else label for name, label in self.names.items()}
        return {**{name: name for name in first}, **settings, **{name: name for name in last}}


def _parts(name: str, values: Spread) -> dict[str, float | None]:
    suffixes = {"": values.mean, "_sd": values.sd, "_ci_low": values.low, "_ci_high": values.high}
    return {f"{name}{suffix}": value for suffix, value in suffixes.items()}


def _spelled(value: Any) -> str:
    return "" if value is None else spell(value)


def _known(value: float | None) -> float | None:
    """Return None for a value that a frame holds as NaN."""
    return None if value is None or value != value else value
