"""The table of tuning trials, and which of their values were chosen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from experiments.planning.widening import is_at_edge, values_tried
from experiments.reporting.render import Grid, Table, number, rounded
from experiments.reporting.rows import Description, swept_names, tuned_names
from experiments.reporting.tables import FURTHER_CAPTION, TUNING_CAPTION
from experiments.runs.naming import cell_name, order_conditions, short_names, sort_key, spell
from experiments.runs.record import Record
from experiments.runs.store import Evidence


def tuning_table(evidence: Evidence, description: Description) -> Table:
    """Return one row per trial, the chosen values marked and values at the edge of what was tried flagged."""
    trials = evidence.trials
    swept, tuned = swept_names(trials), tuned_names(trials)
    order = order_conditions({trial.condition for trial in trials}, description.conditions)
    values = [*swept, *tuned]
    trials = sorted(
        trials,
        key=lambda trial: (
            order.index(trial.condition),
            [sort_key({**trial.swept, **trial.tuned}.get(name)) for name in values],
            trial.seed,
        ),
    )
    labels = list(short_names(values).values())
    spoken = [label.replace("_", " ") for label in labels]
    data = Grid(["variant", *labels, "seed", "validation_macro_f1", "outcome", "chosen", "at_edge"], [])
    reading = Grid(["variant", *spoken, "seed", "validation macro F1", "outcome", "choice", "edge"], [])
    for trial in trials:
        both = {**trial.swept, **trial.tuned}
        shown = [spell(both[name]) if name in both else "" for name in values]
        chosen = is_chosen(trial, evidence.finals)
        edge = " ".join(short_names(tuned)[name] for name in edge_values(trial, trials)) if chosen else ""
        score, outcome = trial.validation.metrics["macro_f1"] if trial.validation else None, trial.outcome.status
        data.rows.append(
            [trial.condition, *shown, str(trial.seed), number(score), outcome, "yes" if chosen else "no", edge]
        )
        title, choice = description.title_of(trial.condition), "chosen" if chosen else ""
        reading.rows.append([title, *shown, str(trial.seed), rounded(score), outcome, choice, edge])
    further = [is_further(trial, description) for trial in trials]
    if any(further):
        _add_column(data, "further", ["yes" if mark else "no" for mark in further])
        _add_column(reading, "further", ["further" if mark else "" for mark in further])
    caption = f"{TUNING_CAPTION} {FURTHER_CAPTION}" if any(further) else TUNING_CAPTION
    return Table("tuning", caption, data, reading)


def _add_column(grid: Grid, name: str, cells: Sequence[str]) -> None:
    grid.columns.append(name)
    for row, cell in zip(grid.rows, cells, strict=True):
        row.append(cell)


def trial_outcomes(evidence: Evidence, description: Description) -> list[str]:
    """Return a sentence about the trials that did not train; none where there were no trials."""
    if not evidence.trials:
        return []
    conditions = order_conditions({trial.condition for trial in evidence.trials}, description.conditions)
    counts = Counter((trial.outcome.status, trial.condition) for trial in evidence.trials)
    parts = []
    for status in ("collapsed", "diverged"):
        where = [f"{description.title_of(name)}, {counts[status, name]}" for name in conditions if counts[status, name]]
        if where:
            total = sum(counts[status, name] for name in conditions)
            parts.append(f"{total} {status} ({'; '.join(where)})")
    return [f"Of {len(evidence.trials)} tuning trials, {' and '.join(parts) or 'none collapsed or diverged'}."]


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
    """Tell whether a trial stands beside those that its grid lists, because the grid widens what it tries."""
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
