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

import sys
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace
from rich.console import Console

from data_modules.config import FILE_FORMATS, PLAIN_TEXT, TEXT_SETTINGS, DataConfig
from experiments.errors import ExperimentError, readable_errors
from experiments.paths import new_folder
from experiments.planning.parser import StrictParser, add_schemes_option, take_schemes, validated_section
from experiments.planning.saved_runs import load_run_config, run_folder, run_names
from experiments.reporting.render import plural, rounded
from experiments.reporting.unseen_report import (
    MOST_NAMED,
    UnseenReport,
    add_scores,
    add_text_scores,
    bounds,
    calibrated,
    counted,
    show,
    spread,
    write,
)
from experiments.tasks import CLASSIFICATION, LANGUAGE_TASKS, task_named

if TYPE_CHECKING:  # they take seconds to import
    from experiments.runs.inference import TrainedModel
    from experiments.runs.unseen import UnseenRows

SOURCE_SETTINGS = frozenset(TEXT_SETTINGS) - {"train_file", "validation_file", "more_text"} | {"cache_dir"}
"""Settings of the text that this command takes: all that say where it is, but none that change it."""


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


def class_report(folder: Path, rows: UnseenRows, seed: int, console: Console) -> UnseenReport:
    """Score a classifier on rows."""
    from experiments.runs.unseen import score_unseen

    with console.status("loading the model"):
        scores = score_unseen(load(folder), rows, seed)
    report = UnseenReport(f"{run_names([folder])[0]} on {scores.name}")
    report.sentences = [*counted(scores), calibrated(scores)]
    add_scores(report, scores)
    report.calibration = scores.calibration
    report.data["calibration.csv"] = [vars(each) for each in scores.calibration]
    return report


def load(folder: Path) -> TrainedModel:
    """Load the classifier of a run folder."""
    from experiments.runs.inference import TrainedModel

    return TrainedModel.load(folder)


def text_report(folder: Path, rows: UnseenRows, seed: int, console: Console) -> UnseenReport:
    """Score a language model on text."""
    from experiments.runs.unseen import score_unseen_text
    from experiments.runs.writing import TrainedLanguageModel

    with console.status("loading the model"):
        model = TrainedLanguageModel.load(folder)
        scores = score_unseen_text(model, rows, seed)
    report = UnseenReport(f"{run_names([folder])[0]} on {scores.name}")
    report.sentences = [
        f"{plural(scores.targets, 'token')} of {plural(scores.documents, 'document')} predicted, in "
        f"{plural(scores.windows, 'window')}. The interval is 95 %, by a bootstrap over windows."
    ]
    add_text_scores(report, scores, task_named(model.config.task))
    return report


def across_report(folders: Sequence[Path], seed: int, console: Console) -> UnseenReport:
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
    report = UnseenReport("Trained on one corpus, tested on another")
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


if __name__ == "__main__":
    main()
