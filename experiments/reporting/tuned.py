"""The tables of tuning: every trial and what was chosen, and the largest values that training survives."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import pandas as pd

from experiments.planning.widening import is_at_edge, is_ladder, values_tried
from experiments.reporting.curves import FEWEST_VALUES
from experiments.reporting.frame import Description, swept_names
from experiments.reporting.render import spoken_name
from experiments.reporting.report_tables import ReportTable, SweptColumns
from experiments.runs.canonical import canonical_json
from experiments.runs.naming import cell_name, order_conditions, short_names, sort_key, spell
from experiments.runs.record import Record
from experiments.runs.store import Evidence
from experiments.tasks import task_named

TUNING_CAPTION = (
    "Every tuning trial, by {primary} on validation; the test split was not read. Edge: the chosen value is the "
    "smallest or largest that was tried (of numbers above 0). A better one may lie beyond."
)
SURVIVAL_CAPTION = (
    "The largest value at which training survives, of the tuning trials: all tuning seeds trained, at some values of "
    "what else was tuned. At the next value tried none of these did. Where none was tried, the limit may lie beyond."
)
FURTHER_CAPTION = (
    "Further: every variant got the same number of trials beyond the listed ones. Each lies beyond its best value "
    "where that lay at an edge, else between it and a neighbour."
)


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


def survival_table(evidence: Evidence, description: Description) -> ReportTable:
    """Return the largest value of every tuned number at which training survives, by condition and swept values.

    A value survives if the trials of all tuning seeds trained at some values of the other tuned settings. The next
    value tried above it failed. If none was tried above, the true limit may lie beyond.
    """
    trials = [trial for trial in evidence.trials if trial.outcome.status != "failed"]
    columns = SweptColumns(swept_names(trials))
    order = order_conditions({trial.condition for trial in trials}, description.conditions)
    places: dict[tuple[str, str], list[Record]] = {}
    for trial in trials:
        places.setdefault((trial.condition, canonical_json(trial.swept)), []).append(trial)
    lines = []
    for name in tuned_ladders(evidence):
        for members in places.values():
            tried = [trial for trial in members if name in trial.tuned]
            if not tried:
                continue
            largest, failed = largest_survived(tried, name)
            line: dict[str, Any] = {"variant": tried[0].condition, "title": description.title_of(tried[0].condition)}
            line |= columns.of(tried[0].swept) | {"tuned": name, "trials": len(tried)}
            ends = {"largest": largest, "failed": failed}
            line |= {end: "" if value is None else spell(value) for end, value in ends.items()}
            line |= {
                "of": spoken_name(name),
                "shown": line["largest"] or "none",
                "next": line["failed"] or "none tried",
            }
            swept = [sort_key(tried[0].swept.get(swept)) for swept in columns.names]
            lines.append(((name, order.index(tried[0].condition), swept), line))
    exact = {"tuned": "tuned", "trials": "trials", "largest": "largest_survived", "failed": "next_failed"}
    shown = {"of": "tuned", "trials": "trials", "shown": "largest survived", "next": "next one, which failed"}
    return ReportTable(
        "survival",
        SURVIVAL_CAPTION,
        pd.DataFrame([line for _, line in sorted(lines, key=lambda entry: entry[0])]),
        {"variant": "variant", **columns.names, **exact},
        {"title": "variant", **columns.titles, **shown},
    )


def largest_survived(trials: Sequence[Record], name: str) -> tuple[float | None, float | None]:
    """Return the largest value of a tuned number at which every tuning seed trained, and the next one tried.

    Args:
        trials: of one condition at one setting.
        name: of the tuned number.
    """
    cells: dict[tuple[float, str], list[bool]] = {}
    for trial in trials:
        others = canonical_json({other: value for other, value in trial.tuned.items() if other != name})
        cells.setdefault((float(trial.tuned[name]), others), []).append(trial.outcome.status == "trained")
    survived = max((value for (value, _), trained in cells.items() if all(trained)), default=None)
    above = [value for value, _ in cells if survived is None or value > survived]
    return survived, min(above, default=None)


def tuned_ladders(evidence: Evidence) -> list[str]:
    """Return the dotted names of tuned numbers with at least three values, such as learning rates."""
    tuned = [trial.tuned for trial in evidence.trials]
    values = {name: values_tried(name, tuned) for name in sorted({name for trial in tuned for name in trial})}
    return [name for name, tried in values.items() if len(tried) >= FEWEST_VALUES and is_ladder(tried)]


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


def tuning_lottery(evidence: Evidence) -> list[str]:
    """Return how often another tuning seed alone would choose other values; nothing for a single tuning seed.

    At each setting the trials count that all its tuning seeds have. With fewer than two such trials there is no choice.
    """
    metric = task_named(evidence.trials[0].task).primary_metric if evidence.trials else None
    places: dict[tuple[str, str], dict[str, dict[int, float]]] = {}
    for trial in evidence.trials:
        score = trial.score("validation", metric.name) if metric and trial.outcome.status == "trained" else None
        values = places.setdefault((trial.condition, canonical_json(trial.swept)), {})
        worst = metric.worst if metric else 0.0
        values.setdefault(canonical_json(trial.tuned), {})[trial.seed] = worst if score is None else score
    cells = pairs = others = 0
    for values in places.values():
        most = max(len(found) for found in values.values())
        shared = {tuned: found for tuned, found in values.items() if len(found) == most}
        seeds = set.intersection(*(set(found) for found in shared.values()))
        if metric is None or len(seeds) < 2 or len(shared) < 2:
            continue
        choose = max if metric.higher_is_better else min
        choices = [choose((found[seed], tuned) for tuned, found in shared.items())[1] for seed in sorted(seeds)]
        cells += 1
        pairs += len(choices) * (len(choices) - 1) // 2
        others += sum(first != second for first, second in combinations(choices, 2))
    if not pairs:
        return []
    return [
        f"Tuning lottery: {others} of {pairs} pairs of tuning seeds choose different values, at {cells} "
        f"setting{'s' * (cells > 1)} whose best trials have several seeds."
    ]
