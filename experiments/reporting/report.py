"""The report of a grid on a corpus: evidence, tables, figures and ``report.md``, a pure function of the evidence."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

from experiments.reporting.environment import environment_section
from experiments.reporting.findings import findings, unfinished
from experiments.reporting.render import Table, escape_markdown, plural, to_csv, to_latex, to_markdown
from experiments.reporting.rows import Description, Row, make_rows
from experiments.reporting.sections import data_section, protocol_section, settings_section
from experiments.reporting.tables import (
    EFFECTS_CAPTION,
    SUMMARY_CAPTION,
    article_table,
    effects_table,
    per_class_table,
    summary_table,
)
from experiments.reporting.tuning import trial_outcomes, tuning_table
from experiments.runs.errors import RecordError
from experiments.runs.files import write_atomically
from experiments.runs.store import RECORDS_FILE, Evidence

__all__ = ["Description", "write_report"]

REPORT_FILE = "report.md"
FIGURE_CAPTIONS = {
    "macro_f1_by": "Mean test macro F1 along a swept value, with its 95 % t-interval over seeds; lines: baselines.",
    "failures_by": "Share of runs that collapsed or diverged along a swept value.",
    "trials_by": "Tuning trials by a swept and a tuned value, the best of each place; ×: none trained; ring: chosen.",
    "gradient_ratio": "Gradient norm of the first block over the last one's while training, at every setting.",
    "macro_f1": "Test macro F1 of every seed, with the mean and its 95 % t-interval.",
    "learning_curves": "Macro F1 on training and validation rows while training; dotted: what claims ask for.",
    "loss_curves": "Training and validation loss, mean and interval over seeds.",
    "confusion": "Test confusion matrices, mean over seeds.",
    "gradient_norms": "Gradient norm by block at the start of training.",
    **{
        f"probed_{name}_by_{axis}": f"{what} by {axis}, measured inside the networks on the same few training rows."
        for name, what in (
            ("signal", "What the stream carries"),
            ("sublayers", "What blocks, attention and feed-forward do to the stream"),
            ("gradients", "Gradients before clipping and steps relative to the weights"),
        )
        for axis in ("depth", "step")
    },
}
ARTICLE_NOTE = (
    "One row per class and the overall row, mean ± standard deviation over seeds. A class's accuracy is one-vs-rest, "
    "(TP + TN) / N, as the article defines it, and not its recall: it counts the true negatives of all other classes, "
    "so it flatters rare classes, and by identity its mean over K classes is 1 − 2(1 − accuracy)/K. No claim rests on "
    "it. The overall row has the share of correct rows and the macro averages."
)

MOST_CLASS_TABLES = 20
MANY_ROWS = "There are too many rows for a table of classes each; [per_class.csv](per_class.csv) holds them all."


def write_report(
    evidence: Evidence,
    folder: Path,
    description: Description,
    *,
    everything: bool = False,
    figures: Collection[str] = (),
) -> list[Path]:
    """Rewrite a results folder and return what was written, ``report.md`` first.

    Without ``everything`` these are the evidence, the tables as CSV and ``report.md``; with it also every figure, which
    ``report.md`` then shows, and the tables as Markdown and LaTeX. ``figures`` names those to draw for other pages.

    Every file is replaced atomically and what is left over from an earlier report is removed last, so that committed
    evidence is never lost half-way.

    Raises:
        RecordError: where there is no final run, the folder holds something else than a report, or a file cannot be
            written.
    """
    from experiments.reporting.figures import draw_figures
    from experiments.reporting.trials import draw_trials

    rows = make_rows(evidence, description)
    if not rows:
        raise RecordError(f"there is no finished final run to report in {folder}")
    _refuse_foreign(folder)
    tables = [summary_table(rows), per_class_table(rows), effects_table(rows)]
    if evidence.trials:
        tables.append(tuning_table(evidence, description))
    tables = [table for table in tables if table.data.rows]
    written = evidence.save(folder)
    for table in tables:
        written += _write_table(folder, table, everything)
    drawn = []
    if everything or figures:
        drawn = draw_figures(rows, folder / "figures") + draw_trials(evidence, description, folder / "figures")
    report = folder / REPORT_FILE
    shown = drawn if everything else []
    write_atomically(report, compose(evidence, rows, tables, shown, description).encode())
    written = [report, *written, *(path for path in drawn if everything or path.name in figures)]
    _remove_leftovers(folder, written)
    return written


def compose(
    evidence: Evidence, rows: Sequence[Row], tables: Sequence[Table], figures: Sequence[Path], description: Description
) -> str:
    """Return the text of ``report.md``."""
    parts = {table.name: table for table in tables}
    sentences = [
        *findings(rows),
        *trial_outcomes(evidence, description),
        *unfinished(rows, description),
    ]
    sections = [
        f"# {description.title}: {evidence.finals[0].corpus}",
        description.purpose,
        "## Findings",
        "\n".join(f"- {escape_markdown(sentence)}" for sentence in sentences),
        "## Per class",
        *([ARTICLE_NOTE, *(_class_section(row) for row in rows)] if len(rows) <= MOST_CLASS_TABLES else [MANY_ROWS]),
        "## Ablation",
        SUMMARY_CAPTION,
        to_markdown(parts["summary"].reading),
    ]
    if "effects" in parts:
        sections += ["## What each change does", EFFECTS_CAPTION, to_markdown(parts["effects"].reading)]
    sections.append("## Figures")
    command = f"python -m experiments.ablation report {description.arguments} --all"
    sections += [f"![{_caption(path)}](figures/{path.name})\n\n*{_caption(path)}*" for path in figures] or [
        f"`{command}` draws them and writes the tables as Markdown and LaTeX too."
    ]
    sections += [
        "## Data",
        data_section(evidence.finals, description),
        "## Protocol",
        protocol_section(evidence, rows, description),
        settings_section(rows),
        "## Environment and how to rebuild",
        environment_section(evidence, description),
        "Tables: " + ", ".join(f"[{name}.csv]({name}.csv)" for name in parts) + ".",
    ]
    return "\n\n".join(section.strip() for section in sections if section.strip()) + "\n"


def _class_section(row: Row) -> str:
    heading = f"### {escape_markdown(row.label)}"
    runs = plural(len(row.records), "run")
    endings = [
        f"{row.count(status)} {status}"
        for status in ("trained", "collapsed", "diverged", "failed")
        if row.count(status)
    ]
    note = f"{runs}: {', '.join(endings)}."
    if not row.scored:
        return f"{heading}\n\n{note} None has scores."
    return f"{heading}\n\n{note}\n\n{to_markdown(article_table(row))}"


def _write_table(folder: Path, table: Table, everything: bool) -> list[Path]:
    contents = {f"{table.name}.csv": to_csv(table.data)}
    if everything:
        contents[f"{table.name}.md"] = f"{table.caption}\n\n{to_markdown(table.reading)}"
        contents[f"{table.name}.tex"] = to_latex(table)
    for name, content in contents.items():
        write_atomically(folder / name, content.encode())
    return [folder / name for name in contents]


def _caption(path: Path) -> str:
    name, setting = next(
        (known, path.stem.removeprefix(known).removeprefix("_"))
        for known in FIGURE_CAPTIONS
        if path.stem.startswith(known)
    )
    kind = "Swept" if name.endswith("_by") else "Setting"
    return FIGURE_CAPTIONS[name] + (
        f" {kind}: {setting.replace('_', ' ') if kind == 'Swept' else setting}." if setting else ""
    )


def _refuse_foreign(folder: Path) -> None:
    """Refuse a folder that no report wrote: what stands in it would be removed."""
    if folder.exists() and any(folder.iterdir()):
        known = [folder / name for name in (REPORT_FILE, RECORDS_FILE)]
        if not any(path.exists() for path in known):
            raise RecordError(
                f"{folder} holds files that no report wrote; move them, because a report rewrites its folder"
            )


def _remove_leftovers(folder: Path, written: Sequence[Path]) -> None:
    kept = {folder / path.relative_to(folder).parts[0] for path in written} | set(written)
    for path in [*folder.glob("figures/*"), *folder.iterdir()]:
        if path not in kept:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
