"""``report.md``: the answer first, then the ablation table, then how it was made; per-class tables last."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from experiments.escaping import as_markdown_code, for_markdown
from experiments.reporting.frame import Description, Row, covered
from experiments.reporting.render import EMPTY, TextTable, joined, plural, to_markdown
from experiments.reporting.report_tables import ReportTable, article_table
from experiments.reporting.sentences import budget, findings, trial_outcomes, unfinished
from experiments.reporting.style import Picture
from experiments.reporting.tuned import chosen_edges, is_further, tuning_lottery
from experiments.runs.canonical import canonical_json
from experiments.runs.naming import WITHOUT_NETWORK, order_conditions, sort_key, spell
from experiments.runs.record import Record, Status
from experiments.runs.store import Evidence
from lightning_modules.config import OPTIMIZER_FIELDS

STATUSES = get_args(Status)
SPLITS = ("train", "validation", "test")
NOT_SETTINGS = ("seed_everything", "model.variant", "data.stage", "data.cache_dir", "data.corpus", "data.num_workers")
MOST_CLASS_TABLES = 20
MOST_FIGURES = 6
"""Figures that a report shows; it links to the others."""
MANY_ROWS = "There are too many rows for a table of classes each; [per_class.csv](per_class.csv) holds them all."
ARTICLE_NOTE = (
    "One row per class and the overall row, mean ± standard deviation over seeds. A class's accuracy is one-vs-rest, "
    "(TP + TN) / N, as the article defines it; it is not the recall. It counts the true negatives of all other "
    "classes, so it flatters rare classes. By identity its mean over K classes is 1 − 2(1 − accuracy)/K. "
    "No claim rests on it. The overall row has the share of correct rows and the macro averages."
)


def compose(
    evidence: Evidence,
    rows: Sequence[Row],
    tables: Sequence[ReportTable],
    pictures: Mapping[str, Picture],
    description: Description,
) -> str:
    """Return the text of ``report.md``.

    Args:
        evidence: the runs.
        rows: its rows, at least one.
        tables: those that have lines; ``summary`` is one of them.
        pictures: by the name of the file below ``figures``; empty for a report without figures.
        description: what the grid says of itself.
    """
    parts = {table.name: table for table in tables}
    answer = [*findings(rows), *trial_outcomes(evidence, description), *unfinished(rows, description)]
    sections = [
        f"# {for_markdown(description.title)}: {for_markdown(evidence.finals[0].corpus)}",
        "\n".join(f"- {for_markdown(sentence)}" for sentence in [*answer, budget(rows)] if sentence),
        f"*The question:* {description.purpose}" if description.purpose else "",
        "## Ablation",
        parts["summary"].caption,
        to_markdown(parts["summary"].reading),
    ]
    if "effects" in parts:
        sections += ["## What each change does", parts["effects"].caption, to_markdown(parts["effects"].reading)]
    if "survival" in parts:
        sections += ["## Which values training survives", parts["survival"].caption]
        sections.append(to_markdown(parts["survival"].reading))
    sections.append("## Figures")
    sections += figure_sections(pictures)
    if not pictures:
        command = f"python -m experiments.ablation report {description.arguments} --all"
        sections.append(f"`{command}` draws them and writes the tables as Markdown and LaTeX too.")
    sections += [
        "## Data",
        data_section(evidence.finals, description),
        "## Protocol",
        protocol_section(evidence, rows, description),
        settings_section(rows),
        "## Environment and how to rebuild",
        environment_section(evidence, description),
    ]
    if "per_class" in rows[0].task.parts:
        sections.append("## Per class")
        few = len(rows) <= MOST_CLASS_TABLES
        sections += [ARTICLE_NOTE, *map(_class_section, rows)] if few else [MANY_ROWS]
    return "\n\n".join(section.strip() for section in sections if section.strip()) + "\n"


def figure_sections(pictures: Mapping[str, Picture]) -> list[str]:
    """Return the figures of most use with their captions, and links to the others."""
    found = []
    for name, picture in [*pictures.items()][:MOST_FIGURES]:
        title = for_markdown(picture.title)
        found.append(f"![{title}](figures/{name})\n\n**{title}.** {for_markdown(picture.caption)}")
    further = [
        f"[{for_markdown(name.removesuffix('.png').replace('_', ' '))}](figures/{name})"
        for name in [*pictures][MOST_FIGURES:]
    ]
    return [*found, f"Further figures: {', '.join(further)}."] if further else found


def _class_section(row: Row) -> str:
    heading = f"### {for_markdown(row.label)}"
    endings = Counter(record.outcome.status for record in row.records)
    note = f"{plural(len(row.records), 'run')}: {', '.join(f'{endings[s]} {s}' for s in STATUSES if endings[s])}."
    if not row.scored:
        return f"{heading}\n\n{note} None has scores."
    return f"{heading}\n\n{note}\n\n{to_markdown(article_table(row))}"


def data_section(finals: Sequence[Record], description: Description) -> str:
    """Return what the text was: source, fingerprint, rows per split, classes; what differs by setting as a range."""
    record = finals[0]
    everyone = [final.data for final in finals if final.condition not in WITHOUT_NETWORK] or [record.data]
    data = everyone[0]
    counts = [each["rows"] for each in everyone if "rows" in each]  # older records do not hold them
    named = {name for count in counts for name in count}
    splits = [*(name for name in SPLITS if name in named), *sorted(named - set(SPLITS))]
    rows = ", ".join(f"{_range([count.get(split, 0) for count in counts])} {split}" for split in splits)
    lines = [
        f"Corpus {as_markdown_code(record.corpus)}: {for_markdown(str(data.get('source', 'of unknown source')))}.",
        "",
        f"- rows: {rows or 'not recorded'}",
        *_removed(everyone),
        *_classes(finals, data.get("classes")),
        f"- vocabulary: {_range([each.get('vocabulary_size', 'unknown') for each in everyone], separator='')} tokens",
        f"- fingerprint of the text {as_markdown_code(str(data.get('fingerprint')))}, "
        f"of the splits {as_markdown_code(str(data.get('split_hash')))}",
    ]
    return "\n".join([*lines, *(["", description.data_note] if description.data_note else [])])


def _classes(finals: Sequence[Record], classes: Sequence[Any] | None) -> list[str]:
    """Return the names of the classes, and which of them the test split lacks; nothing for a task without classes."""
    if not classes:
        return []
    names = [for_markdown(str(name)) for name in classes]
    if not all(name.isascii() for name in names):  # figures may have to show numbers instead
        names = [f"{index} {name}" for index, name in enumerate(names)]
    lines = [f"- {plural(len(names), 'class')}: {', '.join(names)}"]
    entries = [each for final in finals if final.test for each in final.test.details.get("per_class", [])]
    lacking = [for_markdown(str(each["class"])) for each in entries if not each["support"]]
    if lacking:
        lines.append(
            f"- **No test rows of {', '.join(dict.fromkeys(lacking))}.** Macro averages leave out a class that a run "
            "never predicts, and count it as 0 for the others. So they are no fair comparison here."
        )
    return lines


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
    trained = [row for row in rows if row.condition not in WITHOUT_NETWORK]
    if not trained:
        tuning = _tuning_lines(evidence, rows, description) if evidence.trials else []
        return "\n".join(["- No final run of a network yet.", *tuning])
    seeds = sorted({record.seed for row in trained for record in row.records})
    shared = all({record.seed for record in row.records} == set(seeds) for row in trained)
    pairing = (
        "the same for all conditions: differences are paired"
        if shared
        else "not all of them in every row: differences are paired over the seeds that both sides have"
    )
    epochs = sorted({record.config["trainer"]["max_epochs"] for row in trained for record in row.records})
    choices = [
        f"- Chosen on validation for {for_markdown(row.label)}: "
        + ", ".join(f"{as_markdown_code(name)} {_value(value)}" for name, value in sorted(row.records[0].tuned.items()))
        for row in rows
        if row.records[0].tuned
    ]
    return "\n".join(
        [
            f"- {plural(len(seeds), 'seed')} ({_numbers(seeds)}), {pairing}.",
            f"- Epochs: {_numbers(epochs)}. The checkpoint with the best {_primary(rows)} on validation is scored on "
            "the test split, once. Tuning trials never read that split.",
            f"- An interval is the 95 % interval of the mean over {covered(trained)}; one run has none.",
            *_tuning_lines(evidence, rows, description),
            *choices,
        ]
    )


def _tuning_lines(evidence: Evidence, rows: Sequence[Row], description: Description) -> list[str]:
    if not evidence.trials:
        return ["- Untuned: every condition uses its stated settings, which may suit some variants better than others."]
    trials = Counter(_place(trial) for trial in evidence.trials)
    budgets = sorted(set(trials.values()))
    count = plural(budgets[0], "run") if len(budgets) == 1 else f"{budgets[0]} to {budgets[-1]} runs"
    where = "at every setting " if any(trial.swept for trial in evidence.trials) else ""
    seeds = sorted({trial.seed for trial in evidence.trials})
    lines = [
        f"- Tuned per condition {where}on validation {_primary(rows)}: {count} each. Tuning has seeds of its own "
        f"({_numbers(seeds)}); [tuning.csv](tuning.csv) lists every trial."
    ]
    further = Counter(_place(trial) for trial in evidence.trials if is_further(trial, description))
    if further:
        counts = _numbers(sorted(set(further.values())))
        lines.append(
            f"- Of these, {counts} each go beyond the listed ones: outwards where the best value lay at the edge of "
            "what was tried, else between it and a neighbour."
        )
    lines += [f"- {sentence}" for sentence in tuning_lottery(evidence)]
    tuned = {trial.condition for trial in evidence.trials}
    names = dict.fromkeys(
        record.condition for record in evidence.finals if record.condition not in (*tuned, *WITHOUT_NETWORK)
    )
    if names:
        titles = [description.title_of(name) for name in order_conditions(names, description.conditions)]
        lines.append(f"- Not tuned, run with the settings stated below: {for_markdown(joined(titles))}.")
    edges = [
        f"{for_markdown(description.title_of(name))} ({as_markdown_code(value)})"
        for name, value in chosen_edges(evidence)
    ]
    if edges:
        lines.append(f"- At the edge of what was tried, so a better value may lie beyond: {joined(edges, 3)}.")
    return lines


def settings_section(rows: Sequence[Row]) -> str:
    """Return the settings that all conditions share, and a table of those that differ; nothing without a network."""
    flat = {row.label: _settings(row.records[0]) for row in rows if row.condition not in WITHOUT_NETWORK}
    if not flat:
        return ""
    names = sorted({name for values in flat.values() for name in values} - set(NOT_SETTINGS))
    spelled = {name: [spell(values.get(name)) for values in flat.values()] for name in names}
    shared = [
        f"{as_markdown_code(name)} {for_markdown(values[0])}"
        for name, values in spelled.items()
        if len(set(values)) == 1 and values[0] != EMPTY
    ]
    differing = [name for name, values in spelled.items() if len(set(values)) > 1]
    text = f"<details><summary>Settings that all conditions share</summary>\n\n{', '.join(shared)}\n\n</details>"
    if differing:
        cells = [list(line) for line in zip(flat, *(spelled[name] for name in differing), strict=True)]
        text = f"Settings that differ:\n\n{to_markdown(TextTable(['variant', *differing], cells))}\n{text}"
    return text


def environment_section(evidence: Evidence, description: Description) -> str:
    """Return what the runs ran on, and how to rebuild this folder."""
    groups = Counter(canonical_json(_environment(record)) for record in evidence.records)
    lines = [
        _environment_line(json.loads(key), count)
        for key, count in sorted(groups.items(), key=lambda group: (-group[1], group[0]))
    ]
    command = f"python -m experiments.ablation report {description.arguments}"
    return "\n".join(
        [
            *lines,
            "",
            "`records.jsonl.gz` and `predictions.parquet` hold every run behind these tables.",
            f"`{command}` rewrites this folder from them;",
            f"`python -m experiments.ablation run {description.arguments}` makes the runs again.",
        ]
    )


def _environment_line(environment: Mapping[str, Any], count: int) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(environment.get("versions", {}).items()))
    members = environment.get("population")
    population = f", in a population of {members} (an earlier version; today's code cannot repeat it)"
    dirty = ", with uncommitted changes" if environment.get("git_dirty") else ""
    what = (
        f"{environment.get('device')}{population if members else ''}, precision {environment.get('precision')}, "
        f"{plural(environment.get('threads', 1), 'thread')}, Python {environment.get('python')}, {versions}"
    )
    commit = f"commit {as_markdown_code(environment.get('git_commit') or 'unknown')}{dirty}"
    return f"- {plural(count, 'run')}: {for_markdown(what)}; {commit}"


def _environment(record: Record) -> dict[str, Any]:
    return {name: value for name, value in record.environment.items() if name != "git_branch"}


def _settings(record: Record) -> dict[str, Any]:
    """Return a run's settings by dotted name; a dash for those that its optimiser ignores."""
    flat = dict(_flatten(record.config_as_built))
    read = OPTIMIZER_FIELDS.get(flat.get("model.optimizer", ""))
    if read is None:
        return flat
    ignored = {f"model.{name}" for fields in OPTIMIZER_FIELDS.values() for name in fields if name not in read}
    return {name: EMPTY if name in ignored else value for name, value in flat.items()}


def _flatten(config: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _place(record: Record) -> tuple[str, str]:
    """Return condition and swept values: what is tuned by itself."""
    return record.condition, canonical_json(record.swept)


def _primary(rows: Sequence[Row]) -> str:
    return rows[0].task.primary_metric.title


def _range(values: Sequence[Any], separator: str = ",") -> str:
    """Return the values of several settings as one, or as the least and the most."""
    ends = sorted({*values}, key=sort_key)
    return " to ".join(
        f"{end:{separator}}" if isinstance(end, int) else str(end) for end in dict.fromkeys((ends[0], ends[-1]))
    )


def _numbers(values: Sequence[Any]) -> str:
    return ", ".join(spell(value) for value in values)


def _value(value: Any) -> str:
    return for_markdown(spell(value))
