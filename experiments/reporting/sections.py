"""The sections of ``report.md`` that say what was done: data, protocol, settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from experiments.reporting.render import EMPTY, Grid, escape_markdown, plural, to_markdown
from experiments.reporting.rows import Description, Row
from experiments.reporting.tuning import chosen_edges, is_further
from experiments.runs.canonical import canonical_json
from experiments.runs.naming import TFIDF, order_conditions, sort_key, spell
from experiments.runs.record import Record
from experiments.runs.store import Evidence
from lightning_modules.config import OPTIMIZER_FIELDS

SPLITS = ("train", "validation", "test")
NOT_SETTINGS = ("seed_everything", "model.variant", "data.stage", "data.cache_dir", "data.corpus", "data.num_workers")


def data_section(finals: Sequence[Record], description: Description) -> str:
    """Return what the text was: source, fingerprint, rows per split, classes; what differs by setting as a range."""
    record = finals[0]
    everyone = [final.data for final in finals if final.condition != TFIDF] or [record.data]
    data = everyone[0]
    counts = [each["rows"] for each in everyone if "rows" in each]  # older records do not hold them
    named = {name for count in counts for name in count}
    splits = [*(name for name in SPLITS if name in named), *sorted(named - set(SPLITS))]
    rows = ", ".join(f"{_range([count.get(split, 0) for count in counts])} {split}" for split in splits)
    names = [escape_markdown(str(name)) for name in data.get("classes", [])]
    if not all(name.isascii() for name in names):  # figures may have to show numbers instead
        names = [f"{index} {name}" for index, name in enumerate(names)]
    lines = [
        f"Corpus `{record.corpus}`: {escape_markdown(str(data.get('source', 'of unknown source')))}.",
        "",
        f"- rows: {rows or 'not recorded'}",
        *_removed(everyone),
        f"- {len(names)} classes: {', '.join(names)}",
        *_unsupported(finals),
        f"- vocabulary: {_range([each.get('vocabulary_size', 'unknown') for each in everyone], separator='')} tokens",
        f"- fingerprint of the text `{data.get('fingerprint')}`, of the splits `{data.get('split_hash')}`",
    ]
    return "\n".join([*lines, *(["", description.data_note] if description.data_note else [])])


def _range(values: Sequence[Any], separator: str = ",") -> str:
    """Return the values of several settings as one, or as the least and the most."""
    ends = sorted({*values}, key=sort_key)
    return " to ".join(
        f"{end:{separator}}" if isinstance(end, int) else str(end) for end in dict.fromkeys((ends[0], ends[-1]))
    )


def _unsupported(finals: Sequence[Record]) -> list[str]:
    """Return which classes the test split lacks: their scores are none, and macro averages say less."""
    classes = {
        str(each["class"]): each["support"]
        for final in finals
        if final.test
        for each in final.test.details["per_class"]
    }
    lacking = [escape_markdown(name) for name, support in classes.items() if not support]
    if not lacking:
        return []
    return [
        f"- **no test rows of {', '.join(lacking)}**: macro averages leave such a class out of runs that never predict "
        "it and count it as 0 in the others, so they are no fair comparison here"
    ]


def _removed(everyone: Sequence[dict[str, Any]]) -> list[str]:
    """Return what cleaning took away; older records do not hold it."""
    if any("removed" not in data for data in everyone):
        return []
    names = sorted({name for data in everyone for name, count in data["removed"].items() if count})
    reasons = [
        f"{_range([data['removed'].get(name, 0) for data in everyone])} {name.replace('_', ' ')}" for name in names
    ]
    return [f"- removed from the training rows: {', '.join(reasons) or 'none'}"]


def protocol_section(evidence: Evidence, rows: Sequence[Row], description: Description) -> str:
    """Return how the runs were made and how their settings were chosen."""
    trained = [row for row in rows if row.condition != TFIDF]
    if not trained:
        tuning = _tuning_lines(evidence, description) if evidence.trials else []
        return "\n".join(["- No final run of a network yet.", *tuning])
    seeds = sorted({record.seed for row in trained for record in row.records})
    shared = all({record.seed for record in row.records} == set(seeds) for row in trained)
    pairing = (
        "the same for all conditions: differences are paired"
        if shared
        else "not all of them in every row: differences are paired over the seeds that both sides have"
    )
    epochs = sorted({record.config["trainer"]["max_epochs"] for row in trained for record in row.records})
    lines = [
        f"- {plural(len(seeds), 'seed')} ({_numbers(seeds)}), {pairing}.",
        f"- Epochs: {_numbers(epochs)}. The checkpoint with the best validation macro F1 is scored on the test split, "
        "once; tuning trials never read that split.",
        "- An interval is the 95 % t-interval of the mean over seeds; with one run there is none.",
        *_tuning_lines(evidence, description),
        *_choices(rows),
    ]
    return "\n".join(lines)


def settings_section(rows: Sequence[Row]) -> str:
    """Return the settings that all conditions share, and a table of those that differ; nothing without a network."""
    flat = {row.label: _settings(row.records[0]) for row in rows if row.condition != TFIDF}
    if not flat:
        return ""
    names = sorted({name for values in flat.values() for name in values} - set(NOT_SETTINGS))
    spelled = {name: [_value(values.get(name)) for values in flat.values()] for name in names}
    shared = [
        f"`{name}` {values[0]}" for name, values in spelled.items() if len(set(values)) == 1 and values[0] != EMPTY
    ]
    differing = [name for name, values in spelled.items() if len(set(values)) > 1]
    text = f"<details><summary>Settings that all conditions share</summary>\n\n{', '.join(shared)}\n\n</details>"
    if differing:
        cells = [[label, *(_value(values.get(name)) for name in differing)] for label, values in flat.items()]
        text = f"Settings that differ:\n\n{to_markdown(Grid(['variant', *differing], cells))}\n{text}"
    return text


def _tuning_lines(evidence: Evidence, description: Description) -> list[str]:
    if not evidence.trials:
        return ["- Untuned: every condition uses its stated settings, which may suit some variants better than others."]
    trials = Counter(_place(trial) for trial in evidence.trials)
    budgets = sorted(set(trials.values()))
    budget = f"{budgets[0]} runs" if len(budgets) == 1 else f"{budgets[0]} to {budgets[-1]} runs"
    where = "at every setting " if any(trial.swept for trial in evidence.trials) else ""
    seeds = sorted({trial.seed for trial in evidence.trials})
    lines = [
        f"- Tuned per condition {where}on validation macro F1: {budget} each, with seeds of their own "
        f"({_numbers(seeds)}); every trial stands in [tuning.csv](tuning.csv).",
    ]
    further = Counter(_place(trial) for trial in evidence.trials if is_further(trial, description))
    if further:
        counts = _numbers(sorted(set(further.values())))
        lines.append(
            f"- Of these, {counts} each beside the listed ones, beyond the best value where it lay at the edge of what "
            "was tried, else between it and a neighbour."
        )
    tuned = {trial.condition for trial in evidence.trials}
    names = dict.fromkeys(record.condition for record in evidence.finals if record.condition not in (*tuned, TFIDF))
    if names:
        untuned = order_conditions(names, description.conditions)
        titles = ", ".join(escape_markdown(description.title_of(name)) for name in untuned)
        lines.append(f"- Not tuned, run with the settings stated below: {titles}.")
    edges = [f"{description.title_of(name)} (`{value}`)" for name, value in chosen_edges(evidence)]
    if edges:
        lines.append(f"- At the edge of what was tried, so a better value may lie beyond: {', '.join(edges)}.")
    return lines


def _place(record: Record) -> tuple[str, str]:
    """Return condition and swept values: what is tuned by itself."""
    return record.condition, canonical_json(record.swept)


def _choices(rows: Sequence[Row]) -> list[str]:
    """Return what validation chose for every condition, the baseline's penalty included."""
    return [
        f"- Chosen on validation for {escape_markdown(row.label)}: "
        + ", ".join(f"`{name}` {_value(value)}" for name, value in sorted(row.records[0].tuned.items()))
        for row in rows
        if row.records[0].tuned
    ]


def _settings(record: Record) -> dict[str, Any]:
    """Return a run's settings by dotted name; a dash for those that its optimiser ignores."""
    flat = _flatten(record.config_as_built)
    read = OPTIMIZER_FIELDS.get(flat.get("model.optimizer", ""))
    if read is None:
        return flat
    ignored = {f"model.{name}" for fields in OPTIMIZER_FIELDS.values() for name in fields if name not in read}
    return {name: EMPTY if name in ignored else value for name, value in flat.items()}


def _flatten(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _numbers(values: Sequence[Any]) -> str:
    return ", ".join(spell(value) for value in values)


def _value(value: Any) -> str:
    return escape_markdown(spell(value))
