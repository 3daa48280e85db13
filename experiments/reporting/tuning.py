"""The table of tuning trials, and which of their values were chosen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from experiments.records.naming import cell_name, order_conditions, short_names, sort_key, spell
from experiments.records.record import Record
from experiments.records.store import Evidence
from experiments.reporting.render import Grid, Table, number, rounded
from experiments.reporting.rows import Description, swept_names, tuned_names
from experiments.reporting.tables import TUNING_CAPTION


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
    lines = []
    for trial in trials:
        shown = [
            spell(both[name]) if name in both else "" for both in ({**trial.swept, **trial.tuned},) for name in values
        ]
        chosen = is_chosen(trial, evidence.finals)
        edges = short_names(tuned)
        edge = " ".join(edges[name] for name in edge_values(trial, trials)) if chosen else ""
        score = trial.validation.macro_f1 if trial.validation else None
        lines.append((trial.condition, shown, str(trial.seed), score, trial.outcome.status, chosen, edge))
    labels = list(short_names(values).values())
    data = [
        [name, *shown, seed, number(score), outcome, "yes" if chosen else "no", edge]
        for name, shown, seed, score, outcome, chosen, edge in lines
    ]
    reading = [
        [description.title_of(name), *shown, seed, rounded(score), outcome, "chosen" if chosen else "", edge]
        for name, shown, seed, score, outcome, chosen, edge in lines
    ]
    spoken = [label.replace("_", " ") for label in labels]
    return Table(
        "tuning",
        TUNING_CAPTION,
        Grid(["variant", *labels, "seed", "validation_macro_f1", "outcome", "chosen", "at_edge"], data),
        Grid(["variant", *spoken, "seed", "validation macro F1", "outcome", "choice", "edge"], reading),
    )


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
    """Return the tuned names whose value in ``trial`` is the smallest or largest of at least three numbers tried."""
    peers = [peer for peer in trials if peer.condition == trial.condition and peer.swept == trial.swept]
    edges = []
    for name, value in sorted(trial.tuned.items()):
        tried = sorted({peer.tuned[name] for peer in peers if isinstance(peer.tuned.get(name), int | float)})
        if len(tried) >= 3 and value in (tried[0], tried[-1]):
            edges.append(name)
    return edges


def chosen_edges(evidence: Evidence) -> list[tuple[str, str]]:
    """Return condition and value (``learning_rate=0.01``) of every choice at the edge of what was tried."""
    found = {
        (trial.condition, cell_name({name: trial.tuned[name]}, {}, "final"))
        for trial in evidence.trials
        if is_chosen(trial, evidence.finals)
        for name in edge_values(trial, evidence.trials)
    }
    return sorted(found)
