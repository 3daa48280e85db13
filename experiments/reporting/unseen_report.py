"""Scores on unseen text as a report: sentences and tables for the terminal, and a folder of files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from experiments.escaping import for_markdown, for_terminal
from experiments.reporting.render import EMPTY, plural, rounded
from experiments.runs.run_folder import write_atomically
from experiments.tasks import CLASSIFICATION, TaskSpec

if TYPE_CHECKING:  # they take seconds to import
    from experiments.runs.unseen import Bin, UnseenPerplexity, UnseenScores

MOST_NAMED = 10
"""Unknown labels that are named one by one."""
MOST_SHOWN = 100
"""Rows of a table in the terminal."""
SCORES = ("accuracy", "precision", "recall", "f1")
Interval = tuple[float, float] | None
Section = tuple[str, list[str], list[list[str]]]
"""Title, columns and rows of a table."""


class UnseenReport:
    """What is printed and written: sentences, tables, and a picture by file name."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.sentences: list[str] = []
        self.tables: dict[str, Section] = {}
        """By the name of the CSV file."""
        self.data: dict[str, list[dict[str, Any]]] = {}
        """Rows of CSV files at full precision, by file name."""
        self.calibration: list[Bin] = []

    def add(self, name: str, title: str, columns: list[str], rows: Iterable[list[str]]) -> None:
        """Add a table."""
        self.tables[name] = (title, columns, list(rows))


def counted(scores: UnseenScores) -> list[str]:
    """Return sentences that say how many rows were scored, and which were not."""
    said = [
        f"{plural(scores.rows, 'row')} scored. Intervals are 95 %, by a bootstrap over "
        f"{plural(scores.units, scores.unit)}. They speak of these weights."
    ]
    if scores.unknown:
        shown = [f"{name!r} ({count:,})" for name, count in list(scores.unknown.items())[:MOST_NAMED]]
        more = len(scores.unknown) - len(shown)
        said.append(
            f"Not scored: {plural(sum(scores.unknown.values()), 'row')} with labels that the run has no class for, "
            f"{', '.join(shown)}{f' and {more} more' if more else ''}."
        )
    if scores.left_out:
        said.append(f"Not scored: {plural(scores.left_out, 'row')} without a label.")
    if scores.absent:
        said.append(f"No row is of the class {', '.join(scores.absent[:MOST_NAMED])}.")
    if scores.seen:
        said.append(f"Seen before: {plural(scores.seen, 'scored text')} among the run's training rows.")
    return said


def calibrated(scores: UnseenScores) -> str:
    """Return a sentence about calibration."""
    return (
        f"Expected calibration error: {rounded(scores.calibration_error)}, over "
        f"{plural(len(scores.calibration), 'bin')} of confidence that have rows."
    )


def add_scores(report: UnseenReport, scores: UnseenScores) -> None:
    """Add the tables of a classifier's scores."""
    metrics = [(metric, scores.metrics[metric.name]) for metric in CLASSIFICATION.metrics]
    rows = [[metric.title, rounded(value), spread(scores.intervals[metric.name])] for metric, value in metrics]
    report.add("metrics.csv", "All rows", ["metric", "value", "95 % interval"], rows)
    report.data["metrics.csv"] = [
        {"metric": metric.name, "value": value, **bounds(scores.intervals[metric.name])} for metric, value in metrics
    ] + [{"metric": "expected_calibration_error", "value": scores.calibration_error, **bounds(None)}]
    classes = list(zip(scores.evaluation.details["per_class"], scores.class_intervals, strict=True))
    report.add(
        "per_class.csv",
        "By class",
        ["class", "rows", "accuracy", "precision", "recall", "F1", "95 % interval of F1"],
        (
            [str(of["class"]), f"{of['support']:,}", *(rounded(of[name]) for name in SCORES), spread(intervals["f1"])]
            for of, intervals in classes
        ),
    )
    report.data["per_class.csv"] = [
        of | {f"{name}_{end}": value for name in SCORES for end, value in bounds(intervals[name]).items()}
        for of, intervals in classes
    ]
    names = scores.class_names
    report.data["confusion.csv"] = [
        {"class": name, **dict(zip((f"predicted {other}" for other in names), row, strict=True))}
        for name, row in zip(names, scores.evaluation.details["confusion"], strict=True)
    ]
    if scores.groups:
        shown = ("accuracy", "macro_f1")
        report.add(
            "groups.csv",
            "By group",
            ["group", "rows", "accuracy", "95 % interval", "macro F1", "95 % interval "],
            (
                [of.value, f"{of.rows:,}"]
                + [cell for name in shown for cell in (rounded(of.metrics[name]), spread(of.intervals[name]))]
                for of in scores.groups
            ),
        )
        report.data["groups.csv"] = [
            {"group": of.value, "rows": of.rows, **of.metrics}
            | {f"{name}_{end}": value for name in shown for end, value in bounds(of.intervals[name]).items()}
            for of in scores.groups
        ]


def add_text_scores(report: UnseenReport, scores: UnseenPerplexity, spec: TaskSpec) -> None:
    """Add the table of a language model's scores."""
    found = [(metric, scores.metrics[metric.name]) for metric in spec.metrics if metric.name in scores.metrics]
    intervals = {scores.perplexity: scores.interval}
    rows = [[metric.title, rounded(value), spread(intervals.get(metric.name))] for metric, value in found]
    report.add("metrics.csv", "All text", ["metric", "value", "95 % interval"], rows)
    report.data["metrics.csv"] = [
        {"metric": metric.name, "value": value, **bounds(intervals.get(metric.name))} for metric, value in found
    ]


def spread(interval: Interval) -> str:
    """Return ``[0.61, 0.66]``, or a dash."""
    return EMPTY if interval is None else f"[{rounded(interval[0])}, {rounded(interval[1])}]"


def bounds(interval: Interval) -> dict[str, float | None]:
    """Return the ends of an interval by name."""
    low, high = interval or (None, None)
    return {"low": low, "high": high}


def show(report: UnseenReport, console: Console) -> None:
    """Print a report."""
    console.print(for_terminal(report.title), style="bold", highlight=False)
    for sentence in report.sentences:
        console.print(for_terminal(sentence), highlight=False, soft_wrap=True)
    for title, columns, rows in report.tables.values():
        table = Table(*map(for_terminal, columns), title=title, title_justify="left", box=None)
        for row in rows[:MOST_SHOWN]:
            table.add_row(*map(for_terminal, row))
        console.print(table)
        if len(rows) > MOST_SHOWN:
            console.print(f"{len(rows) - MOST_SHOWN:,} more rows are in the folder that --to names", highlight=False)


def write(report: UnseenReport, folder: Path) -> None:
    """Write a report into a new folder: Markdown, CSV files and the figure of calibration."""
    folder.mkdir(parents=True)
    lines = [f"# {for_markdown(report.title)}", "", *(f"{for_markdown(said)}\n" for said in report.sentences)]
    if report.calibration:
        save_reliability(report.calibration, folder / "reliability.png")
        lines += ["![Share of right answers against confidence](reliability.png)", ""]
    for title, columns, rows in report.tables.values():
        lines += [f"## {title}", "", markdown_row(columns), "| --- " * len(columns) + "|", *map(markdown_row, rows), ""]
    write_atomically(folder / "report.md", "\n".join(lines).encode())
    for name, values in report.data.items():
        write_atomically(folder / name, as_csv(values).encode(errors="backslashreplace"))


def markdown_row(cells: Iterable[str]) -> str:
    """Return a row of a Markdown table."""
    return "| " + " | ".join(for_markdown(cell.strip()) for cell in cells) + " |"


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV; a data file keeps names exactly."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def save_reliability(bins: Sequence[Bin], path: Path) -> None:
    """Draw how often answers of each confidence are right, with the number of rows below."""
    import matplotlib
    from matplotlib.figure import Figure

    from experiments.reporting.style import GREY, LIGHT_GREY, PALETTE, save_png, settings

    with matplotlib.rc_context(settings()):
        figure = Figure(figsize=(4.2, 4.4), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        upper.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="perfectly calibrated")
        xs, ys = [each.confidence for each in bins], [each.accuracy for each in bins]
        upper.plot(xs, ys, color=PALETTE[0], marker="o", label="this model")
        upper.set(ylabel="share of right answers", xlim=(0, 1), ylim=(0, 1))
        upper.legend(loc="upper left")
        width = 1 / 15
        lower.bar([each.low for each in bins], [each.rows for each in bins], width, align="edge", color=LIGHT_GREY)
        lower.set(xlabel="confidence of the answer", ylabel="rows")
        save_png(figure, path)
