"""The tables of a report: each is one DataFrame, written with every digit for programs and rounded for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from experiments.planning.widening import is_at_edge, values_tried
from experiments.reporting.frame import Description, Row, metrics_of, swept_names
from experiments.reporting.render import EMPTY, TextTable, interval, mean_and_sd, number, rounded
from experiments.runs.naming import BASELINES, TFIDF, cell_name, order_conditions, short_names, sort_key, spell
from experiments.runs.record import Record, Status
from experiments.runs.store import Evidence
from experiments.statistics.seeds import Spread, spread
from experiments.tasks import task_named
from lightning_modules.schemes.variants import VARIANTS, ancestors

OUTCOMES: tuple[Status, ...] = ("trained", "collapsed", "diverged")
COUNTS = ("norms", "skips", "parameters")
CLASS_MEASURES = {"accuracy": "accuracy", "precision": "precision", "recall": "recall", "f1": "F1"}
"""Measures of one class and their titles."""
BOTH_COLLAPSED = "both collapsed"

SUMMARY_CAPTION = (
    "Test scores of the checkpoint that was best on validation: mean ± standard deviation over seeds. The interval is "
    "the 95 % t-interval of the mean {primary}. Collapsed runs count in the means; diverged runs have no score and are "
    "counted in their column. {target}"
    "Generalisation gap: {primary} on a fixed sample of training rows minus {primary} on validation."
)
TARGET_CAPTION = (
    "Steps to target: median optimiser steps until validation {primary} reached 90 % of the TF-IDF baseline's. They "
    "are read at validations, and empty if more than half of the seeds never reached it. "
)
PER_CLASS_CAPTION = (
    "Test scores per class, mean ± standard deviation over seeds. Accuracy is one-vs-rest, (TP + TN) / N. It counts "
    "the true negatives of all other classes and so flatters rare classes."
)
TUNING_CAPTION = (
    "Every tuning trial, by {primary} on validation; the test split was not read. Edge: the chosen value is the "
    "smallest or largest that was tried (of numbers above 0). A better one may lie beyond."
)
FURTHER_CAPTION = (
    "Further: every variant got the same number of trials beyond the listed ones. Each lies beyond its best value "
    "where that lay at an edge, else between it and a neighbour."
)
EFFECTS_CAPTION = (
    "Difference in test {primary} between a variant and the nearest one it was derived from. A variant that takes one "
    "part from others is compared with these too. Differences are paired by seed: mean with its 95 % t-interval over "
    "the seeds that both have scores for. The intervals are not adjusted for their number. Where all runs of both "
    "collapsed, their difference says nothing."
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
        """The table for programs: numbers with six decimals, nothing for what is missing."""
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
        line |= {status: row.count(status) for status in OUTCOMES}
        for metric in metrics:
            line |= _parts(metric.name, row.test(metric.name))
        line |= {"steps_to_target": _spelled(row.steps_to_target), **_parts("generalisation_gap", row.gap)}
        lines.append(line | {"steps": line["steps_to_target"] or EMPTY})
    parts = [f"{metric.name}{suffix}" for metric in metrics for suffix in ("", "_sd", "_ci_low", "_ci_high")]
    middle, title = [*COUNTS, "seeds", *OUTCOMES], task.primary_metric.title
    has_target = TFIDF in task.baselines
    titles = {task.primary: task.primary_metric.title, f"{task.primary}_ci": "95 % interval"}
    titles |= {metric.name: metric.title for metric in metrics if metric.name != task.primary}
    return ReportTable(
        "summary",
        SUMMARY_CAPTION.format(primary=title, target=TARGET_CAPTION.format(primary=title) if has_target else ""),
        pd.DataFrame(lines),
        swept.between(["variant"], [*middle, *parts, *["steps_to_target"] * has_target, "generalisation_gap"]),
        {
            **{"title": "variant", **swept.titles, **{name: name for name in middle}, **titles},
            **({"steps": "steps to target"} if has_target else {}),
            "generalisation_gap": "generalisation gap",
        },
    )


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


def effects_table(rows: Sequence[Row]) -> ReportTable:
    """Return the paired difference between every variant and those it was derived from at the same swept values."""
    swept, metric = SweptColumns(swept_names(rows)), rows[0].task.primary_metric
    name = f"{metric.name}_difference"
    lines = []
    pairs = [(row, origin) for row in rows for origin in origins_of(row, rows)]
    for row, origin in pairs:
        effect = row.minus(origin)
        learnt_nothing = all(side.count("collapsed") == len(side.records) for side in (row, origin))
        line: dict[str, Any] = {
            "variant": row.condition,
            "title": f"{row.title} − {origin.title}",
            **swept.of(row.swept),
        }
        line |= {"parent": origin.condition, "paired_seeds": effect.count, **_parts(name, effect)}
        line |= {"shown": BOTH_COLLAPSED if learnt_nothing else mean_and_sd(effect)}
        lines.append(line | {"interval": EMPTY if learnt_nothing else interval(effect)})
    parts = [f"{name}{suffix}" for suffix in ("", "_sd", "_ci_low", "_ci_high")]
    titles = {"paired_seeds": "paired seeds", "shown": metric.title, "interval": "95 % interval"}
    return ReportTable(
        "effects",
        EFFECTS_CAPTION.format(primary=metric.title),
        pd.DataFrame(lines),
        swept.between(["variant"], ["parent", "paired_seeds", *parts]),
        {"title": "difference", **swept.titles, **titles},
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


def tuning_table(evidence: Evidence, description: Description) -> ReportTable:
    """Return one row per trial, the chosen values marked and values at the edge of what was tried flagged."""
    trials, metric = evidence.trials, task_named(evidence.trials[0].task).primary_metric
    tuned = sorted({name for trial in trials for name in trial.tuned})
    names = [*swept_names(trials), *tuned]
    columns = SweptColumns(names)
    order = order_conditions({trial.condition for trial in trials}, description.conditions)
    lines = []
    for trial in trials:
        values = {**trial.swept, **trial.tuned}
        chosen, further = is_chosen(trial, evidence.finals), is_further(trial, description)
        edges = [short_names(tuned)[name] for name in edge_values(trial, trials)] if chosen else []
        line: dict[str, Any] = {"variant": trial.condition, "title": description.title_of(trial.condition)}
        line |= columns.of(values)
        line |= {"seed": trial.seed, f"validation_{metric.name}": trial.score("validation", metric.name)}
        line |= {"outcome": trial.outcome.status, "at_edge": " ".join(edges)}
        line |= {"chosen": "yes" if chosen else "no", "choice": "chosen" if chosen else ""}
        line |= {"further": "yes" if further else "no", "mark": "further" if further else ""}
        place = order.index(trial.condition), [sort_key(values.get(name)) for name in names], trial.seed
        lines.append((place, line))
    frame = pd.DataFrame([line for _, line in sorted(lines, key=lambda entry: entry[0])])
    frame = frame.astype({f"validation_{metric.name}": float})
    widened = bool((frame["further"] == "yes").any())
    exact = ["seed", f"validation_{metric.name}", "outcome", "chosen", "at_edge", *["further"] * widened]
    shown = {"title": "variant"} | columns.titles | {"seed": "seed"}
    shown |= {f"validation_{metric.name}": f"validation {metric.title}", "outcome": "outcome"}
    shown |= {"choice": "choice", "at_edge": "edge"}
    return ReportTable(
        "tuning",
        TUNING_CAPTION.format(primary=metric.title) + f" {FURTHER_CAPTION}" * widened,
        frame,
        columns.between(["variant"], exact),
        shown | ({"mark": "further"} if widened else {}),
    )


def is_chosen(trial: Record, finals: Sequence[Record]) -> bool:
    """Tell whether the final runs of the trial's condition use the trial's values."""
    return any(
        final.condition == trial.condition and final.swept == trial.swept and final.tuned == trial.tuned
        for final in finals
    )


def edge_values(trial: Record, trials: Sequence[Record]) -> list[str]:
    """Return the tuned names whose value in ``trial`` is the smallest or largest of what its condition tried there."""
    tried = [peer.tuned for peer in trials if peer.condition == trial.condition and peer.swept == trial.swept]
    return [name for name, value in sorted(trial.tuned.items()) if is_at_edge(value, values_tried(name, tried))]


def is_further(trial: Record, description: Description) -> bool:
    """Tell whether a trial is none of those that its grid lists, because the grid widens what it tries."""
    listed = description.listed_trials.get(trial.condition, ())
    return len(listed) > 0 and trial.tuned not in listed


def chosen_edges(evidence: Evidence) -> list[tuple[str, str]]:
    """Return condition and value (``learning_rate=0.01``) of every choice at the edge of what was tried."""
    found = {
        (trial.condition, cell_name({name: trial.tuned[name]}, {}, "final"))
        for trial in evidence.trials
        if is_chosen(trial, evidence.finals)
        for name in edge_values(trial, evidence.trials)
    }
    return sorted(found)


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
    """Return None for what a frame holds as NaN."""
    return None if value is None or value != value else value
