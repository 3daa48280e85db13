"""Score a trained run on text that it never saw: the article's table with intervals, by group, and calibration.

    python -m experiments.evaluate RUN --data.corpus csv --data.test_file new.csv --to report
    python -m experiments.evaluate RUN --data.corpus csv --data.test_file new.csv --groups source
    python -m experiments.evaluate RUN --data.corpus docstrings
    python -m experiments.evaluate RUN --across RUN2 RUN3

RUN is a run folder. Labels are matched by their names; rows with other labels are counted and named. Intervals come
from a bootstrap over rows, or over groups if ``--data.group_column`` names them. ``--groups`` scores the rows of each
value of a column. ``--across`` scores every run on the test rows of every run, if all have the same classes. For a
language model the perplexity is measured, and no label is needed. ``--to`` names a new folder for ``report.md``, CSV
files and the figure of calibration.
"""

from __future__ import annotations

if not __package__:  # started by its path, where Python finds neither our packages nor its own `statistics`
    raise SystemExit("error: start it from the repository's folder with: python -m experiments.evaluate")

import csv
import io
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace
from rich.console import Console
from rich.table import Table

from data_modules.config import FILE_FORMATS, PLAIN_TEXT, TEXT_SETTINGS, DataConfig
from experiments.errors import ExperimentError, readable_errors
from experiments.escaping import for_markdown, for_terminal
from experiments.paths import new_folder
from experiments.planning.parser import StrictParser, add_schemes_option, take_schemes, validated_section
from experiments.planning.saved_runs import load_run_config, run_folder, run_names
from experiments.reporting.render import EMPTY, plural, rounded
from experiments.runs.run_folder import write_atomically
from experiments.tasks import CLASSIFICATION, LANGUAGE_TASKS, TaskSpec, task_named

if TYPE_CHECKING:  # they take seconds to import
    from experiments.runs.inference import TrainedModel
    from experiments.runs.unseen import Bin, UnseenPerplexity, UnseenRows, UnseenScores

SOURCE_SETTINGS = frozenset(TEXT_SETTINGS) - {"train_file", "validation_file", "more_text"} | {"cache_dir"}
"""Settings of the text that this command takes: all that say where it is, but none that change it."""
MOST_NAMED = 10
"""Unknown labels that are named one by one."""
MOST_SHOWN = 100
"""Rows of a table in the terminal."""
SCORES = ("accuracy", "precision", "recall", "f1")
Interval = tuple[float, float] | None
Section = tuple[str, list[str], list[list[str]]]
"""Title, columns and rows of a table."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Score and print; mistakes end with one line and status 2."""
    with readable_errors():
        parsed = parse(take_schemes(sys.argv[1:] if arguments is None else arguments))
        folders = [run_folder(name) for name in (parsed["run"], *(parsed.get("across") or []))]
        tasks = [load_run_config(folder).task for folder in folders]
        check(parsed, tasks)
        target = None if parsed.get("to") is None else new_folder(parsed["to"])
        console = Console(force_jupyter=False)
        if parsed.get("across"):
            report = across_report(folders, parsed.get("seed", 0), console)
        else:
            rows = rows_to_score(parsed, tasks[0])
            of_task = text_report if tasks[0] in LANGUAGE_TASKS else class_report
            report = of_task(folders[0], rows, parsed.get("seed", 0), console)
        show(report, console)
        if target is not None:
            write(report, target)
            console.print(f"wrote {target}", markup=False, highlight=False, soft_wrap=True)


def parse(arguments: Sequence[str]) -> Namespace:
    """Return the options that are on the command line."""
    parser = StrictParser(prog="python -m experiments.evaluate", description=__doc__)
    parser.add_argument("run", type=str, help="run folder with a checkpoint")
    parser.add_argument("--groups", type=str, help="column of the file by whose values to score the rows too")
    parser.add_argument(
        "--split", type=str, help="split of a corpus that is no file: train, validation, test (default)"
    )
    parser.add_argument("--across", type=str, nargs="+", help="further run folders: score each on the rows of each")
    parser.add_argument("--seed", type=int, help="seed of the resampling (default: 0)")
    parser.add_argument("--to", type=str, help="folder to write, which must be new (default: the terminal alone)")
    add_schemes_option(parser)
    skip = {entry.name for entry in fields(DataConfig)} - SOURCE_SETTINGS
    parser.add_class_arguments(DataConfig, "data", skip=skip)
    return parser.parse_args(list(arguments), defaults=False)


def check(parsed: Namespace, tasks: Sequence[str]) -> None:
    """Raise :class:`ExperimentError` if the options do not fit together, before anything is loaded."""
    given = parsed.get("data")
    if parsed.get("across"):
        if given is not None or parsed.get("groups") or parsed.get("split"):
            raise ExperimentError("--across scores runs on each other's test rows; leave out --data, --groups, --split")
        if set(tasks) != {CLASSIFICATION.name}:
            raise ExperimentError("--across compares classifiers; the runs are of the tasks " + ", ".join(tasks))
    elif given is None:
        raise ExperimentError("name the text with --data.corpus, and --data.test_file if it is a file")
    if parsed.get("groups") and tasks[0] in LANGUAGE_TASKS:
        raise ExperimentError("--groups scores classes, and a language model has none")
    if parsed.get("split", "test") not in ("train", "validation", "test"):
        raise ExperimentError(f"--split is {parsed['split']!r}; choose train, validation or test")
    if not 0 <= parsed.get("seed", 0) < 2**32:
        raise ExperimentError(f"--seed is {parsed['seed']}; it must be a whole number from 0 to 2³² − 1")


def rows_to_score(parsed: Namespace, task: str) -> UnseenRows:
    """Read the rows that the command line names."""
    from experiments.runs.unseen import unseen_rows

    given = parsed["data"].as_dict()
    corpus = given.get("corpus", DataConfig.corpus)
    if task in LANGUAGE_TASKS:
        given.setdefault("label_column", None)
    if corpus in (*FILE_FORMATS, PLAIN_TEXT):
        if given.get("test_file") is None:
            raise ExperimentError(f"--data.corpus {corpus} needs --data.test_file, the file of rows to score")
        if parsed.get("split"):
            raise ExperimentError("--split belongs to a corpus that has splits; all rows of a file are scored")
        given["train_file"] = given.pop("test_file")
    elif given.get("test_file") is not None:
        raise ExperimentError(f"--data.test_file needs --data.corpus, one of: {', '.join((*FILE_FORMATS, PLAIN_TEXT))}")
    return unseen_rows(validated_section("data", given), parsed.get("split", "test"), parsed.get("groups"))


class Report:
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


def class_report(folder: Path, rows: UnseenRows, seed: int, console: Console) -> Report:
    """Score a classifier on rows."""
    from experiments.runs.unseen import score_unseen

    with console.status("loading the model"):
        scores = score_unseen(load(folder), rows, seed)
    report = Report(f"{run_names([folder])[0]} on {scores.name}")
    report.sentences = [*counted(scores), calibrated(scores)]
    add_scores(report, scores)
    report.calibration = scores.calibration
    report.data["calibration.csv"] = [vars(each) for each in scores.calibration]
    return report


def load(folder: Path) -> TrainedModel:
    """Load the classifier of a run folder."""
    from experiments.runs.inference import TrainedModel

    return TrainedModel.load(folder)


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


def add_scores(report: Report, scores: UnseenScores) -> None:
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


def text_report(folder: Path, rows: UnseenRows, seed: int, console: Console) -> Report:
    """Score a language model on text."""
    from experiments.runs.unseen import score_unseen_text
    from experiments.runs.writing import TrainedLanguageModel

    with console.status("loading the model"):
        model = TrainedLanguageModel.load(folder)
        scores = score_unseen_text(model, rows, seed)
    report = Report(f"{run_names([folder])[0]} on {scores.name}")
    report.sentences = [
        f"{plural(scores.targets, 'token')} of {plural(scores.documents, 'document')} predicted, in "
        f"{plural(scores.windows, 'window')}. The interval is 95 %, by a bootstrap over windows."
    ]
    add_text_scores(report, scores, task_named(model.config.task))
    return report


def add_text_scores(report: Report, scores: UnseenPerplexity, spec: TaskSpec) -> None:
    """Add the table of a language model's scores."""
    found = [(metric, scores.metrics[metric.name]) for metric in spec.metrics if metric.name in scores.metrics]
    intervals = {scores.perplexity: scores.interval}
    rows = [[metric.title, rounded(value), spread(intervals.get(metric.name))] for metric, value in found]
    report.add("metrics.csv", "All text", ["metric", "value", "95 % interval"], rows)
    report.data["metrics.csv"] = [
        {"metric": metric.name, "value": value, **bounds(intervals.get(metric.name))} for metric, value in found
    ]


def across_report(folders: Sequence[Path], seed: int, console: Console) -> Report:
    """Score every run on the test rows of every run.

    Raises:
        ExperimentError: the runs' classes differ, or a run is named twice.
    """
    from experiments.runs.unseen import score_unseen

    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ExperimentError("--across names a run twice")
    names = run_names(folders)
    with console.status("loading the models"):
        models = [load(folder) for folder in folders]
        classes = [set(model.data.facts.class_names) for model in models]
        for name, own in zip(names, classes, strict=True):
            if own != classes[0]:
                raise ExperimentError(
                    f"the classes of {names[0]} and {name} differ: {listed(classes[0] - own)} in the first alone, "
                    f"{listed(own - classes[0])} in the second alone"
                )
        texts = [own_test_rows(model) for model in models]
        scores = [[score_unseen(model, rows, seed) for rows in texts] for model in models]
    report = Report("Trained on one corpus, tested on another")
    report.sentences = [
        "Each row is a run, each column the test rows of a run. Numbers are macro F1, with 95 % intervals by a "
        "bootstrap over test rows or their groups; they speak of these weights."
    ]
    tested = [f"{number}: {rows.name}" for number, rows in enumerate(texts, start=1)]
    report.add(
        "across.csv",
        "Macro F1",
        ["trained on", *tested],
        (
            [
                f"{number}: {name}",
                *(f"{rounded(one.metrics['macro_f1'])} {spread(one.intervals['macro_f1'])}" for one in of),
            ]
            for number, (name, of) in enumerate(zip(names, scores, strict=True), start=1)
        ),
    )
    report.data["across.csv"] = [
        {"trained_on": name, "tested_on": column, "rows": one.rows, "seen": one.seen, **one.metrics}
        | bounds(one.intervals["macro_f1"])
        for name, of in zip(names, scores, strict=True)
        for column, one in zip(tested, of, strict=True)
    ]
    return report


def own_test_rows(model: TrainedModel) -> UnseenRows:
    """Return the test rows of a run's own corpus."""
    from experiments.runs.unseen import UnseenRows

    corpus = model.data.corpus
    rows = corpus.splits["test"]
    return UnseenRows(
        name=corpus.slug,
        texts=rows["text"][:],
        labels=[corpus.class_names[index] for index in rows["label"][:]],
        groups=list(rows["group"][:]) if "group" in rows.column_names else None,
    )


def listed(names: Iterable[str]) -> str:
    """Return some names, or ``none``."""
    return ", ".join(sorted(names)[:MOST_NAMED]) or "none"


def spread(interval: Interval) -> str:
    """Return ``[0.61, 0.66]``, or a dash."""
    return EMPTY if interval is None else f"[{rounded(interval[0])}, {rounded(interval[1])}]"


def bounds(interval: Interval) -> dict[str, float | None]:
    """Return the ends of an interval by name."""
    low, high = interval or (None, None)
    return {"low": low, "high": high}


def show(report: Report, console: Console) -> None:
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


def write(report: Report, folder: Path) -> None:
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


if __name__ == "__main__":
    main()
