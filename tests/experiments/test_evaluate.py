"""Scores of a trained run on text that it never saw."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import f1_score, precision_recall_fscore_support
from tiny_runs import make, tiny_run
from torchmetrics.functional.classification import multiclass_calibration_error

from data_modules.config import DataConfig
from experiments import evaluate
from experiments.evaluate import main
from experiments.planning.saved_runs import load_run_config
from experiments.runs.inference import TrainedModel
from experiments.runs.run_folder import read_record
from experiments.runs.unseen import UnseenRows, matched, reliability, score_unseen, unseen_rows
from experiments.statistics.rows import counts_by_unit, macro_f1, percentiles, resampled_totals

Fail = Callable[..., str]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluate")


@pytest.fixture(scope="module")
def run(work: Path) -> Path:
    return make(tiny_run(work / "cache"), work / "results")


@pytest.fixture(scope="module")
def model(run: Path) -> TrainedModel:
    return TrainedModel.load(run)


@pytest.fixture(scope="module")
def test_rows(run: Path) -> UnseenRows:
    return unseen_rows(load_run_config(run).data)


@pytest.fixture
def fails(fails_with_one_line: Fail) -> Fail:
    return partial(fails_with_one_line, main)


@pytest.fixture
def rows_file(test_rows: UnseenRows, tmp_path: Path) -> Path:
    """A file of the test rows, some with labels that no run knows, in two groups."""
    assert test_rows.labels is not None
    labels = [*test_rows.labels]
    labels[0] = labels[3] = "<b>eleven|\x1b[31m"
    labels[1] = ""
    table = pd.DataFrame({"said": test_rows.texts, "digit": labels})
    table["source"] = ["left" if row % 3 else "=right" for row in range(len(table))]
    table["book"] = [f"book {row % 7}" for row in range(len(table))]
    path = tmp_path / "new.csv"
    table.to_csv(path, index=False)
    return path


def test_the_own_test_split_scores_what_the_record_says(run: Path, model: TrainedModel, test_rows: UnseenRows) -> None:
    scores = score_unseen(model, test_rows)
    record = read_record(run)
    assert record.test is not None
    for name, value in scores.metrics.items():
        assert value == pytest.approx(record.test.metrics[name], abs=1e-6)
    assert scores.evaluation.details["confusion"] == record.test.details["confusion"]
    assert scores.rows == len(test_rows.texts) and scores.seen == 0 and scores.unknown == {}


def test_scores_of_a_file_are_those_of_scikit_learn(run: Path, rows_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    options = ["--data.text_column", "said", "--data.label_column", "digit", "--to", str(folder)]
    main([str(run), "--data.corpus", "csv", "--data.test_file", str(rows_file), *options])
    table = pd.read_csv(rows_file, dtype=str, keep_default_na=False)
    known = table[table["digit"].str.fullmatch(r"\d")]
    answered = TrainedModel.load(run).answer(known["said"].tolist()).predicted
    names = [str(digit) for digit in range(10)]
    precision, recall, f1, support = precision_recall_fscore_support(
        known["digit"], answered, labels=names, zero_division=0
    )
    written = pd.read_csv(folder / "per_class.csv", dtype={"class": str})
    assert written["class"].tolist() == names
    for column, expected in (("precision", precision), ("recall", recall), ("f1", f1), ("support", support)):
        np.testing.assert_allclose(written[column], expected, atol=1e-6)
    report = (folder / "report.md").read_text()
    assert "&lt;b&gt;eleven" in report and "\x1b" not in report and "(2)" in report
    assert "1 row without a label" in report
    assert (folder / "reliability.png").stat().st_size > 1_000


def test_each_group_is_scored_as_if_it_were_alone(run: Path, rows_file: Path, tmp_path: Path) -> None:
    options = ["--data.text_column", "said", "--data.label_column", "digit", "--groups", "source"]
    main([str(run), "--data.corpus", "csv", "--data.test_file", str(rows_file), *options, "--to", str(tmp_path / "a")])
    with (tmp_path / "a" / "groups.csv").open() as file:
        groups = {row["group"]: row for row in csv.DictReader(file)}
    assert set(groups) == {"left", "=right"}  # the data file keeps the name as it is
    table = pd.read_csv(rows_file, dtype=str, keep_default_na=False)
    model = TrainedModel.load(run)
    for name, row in groups.items():
        part = table[(table["source"] == name) & table["digit"].str.fullmatch(r"\d")]
        answered = model.answer(part["said"].tolist()).predicted
        assert int(row["rows"]) == len(part)
        assert float(row["macro_f1"]) == pytest.approx(f1_score(part["digit"], answered, average="macro"), abs=1e-9)
        assert float(row["macro_f1_low"]) <= float(row["macro_f1"]) + 0.1


def test_rows_of_a_group_are_resampled_together() -> None:
    """Groups whose rows are copies of one another are worth one row each: the interval is as wide as without copies."""
    draw = np.random.default_rng(1)
    labels, predicted = draw.integers(0, 3, 40), draw.integers(0, 3, 40)
    copied = np.repeat(np.arange(40), 5)
    alone = counts_by_unit(labels, predicted, 3)
    together = counts_by_unit(labels[copied], predicted[copied], 3, copied)
    assert (together == 5 * alone).all()
    intervals = [percentiles(macro_f1(resampled_totals(each, np.random.default_rng(0)))) for each in (alone, together)]
    assert intervals[0] == pytest.approx(intervals[1])
    by_row = percentiles(macro_f1(resampled_totals(counts_by_unit(labels[copied], predicted[copied], 3),
                                                   np.random.default_rng(0))))  # fmt: skip
    assert by_row[1] - by_row[0] < 0.6 * (intervals[0][1] - intervals[0][0])


def test_the_bootstrap_of_a_share_agrees_with_the_binomial() -> None:
    right = np.array([1.0] * 60 + [0.0] * 140)
    shares = resampled_totals(right[:, None], np.random.default_rng(0), 20_000)[:, 0] / 200
    assert shares.mean() == pytest.approx(0.3, abs=0.002)
    assert shares.std() == pytest.approx(np.sqrt(0.3 * 0.7 / 200), rel=0.03)


def test_the_calibration_error_is_that_of_torchmetrics(model: TrainedModel, test_rows: UnseenRows) -> None:
    scores = score_unseen(model, test_rows)
    assert test_rows.labels is not None
    probabilities = torch.from_numpy(model.answer(test_rows.texts).probabilities)
    labels = torch.tensor([int(label) for label in test_rows.labels])
    expected = multiclass_calibration_error(probabilities, labels, num_classes=10, n_bins=15, norm="l1")
    assert scores.calibration_error == pytest.approx(float(expected), abs=1e-5)
    assert sum(each.rows for each in scores.calibration) == len(labels)


def test_a_sure_and_right_model_is_in_the_last_bin() -> None:
    (only,) = reliability(np.array([[0.0, 1.0], [1.0, 0.0]], dtype=np.float32), np.array([1, 0]))
    assert (only.low, only.high, only.rows, only.confidence, only.accuracy) == (14 / 15, 1.0, 2, 1.0, 1.0)


def test_labels_are_matched_by_name_whatever_their_order() -> None:
    rows = UnseenRows(name="new", texts=["a"] * 5, labels=["1.0", "0", "two", "1", "two"])
    found, unknown = matched(rows, ["0", "1"])
    assert found.tolist() == [1, 0, -1, 1, -1]
    assert unknown == {"two": 2}


def test_training_rows_are_recognised_in_other_text(model: TrainedModel) -> None:
    train = model.data.texts("train")[:3]
    labels = [model.data.facts.class_names[0]] * 4
    scores = score_unseen(model, UnseenRows(name="new", texts=[*(f"  {text.upper()} " for text in train), "MAX"],
                                            labels=labels))  # fmt: skip
    assert scores.seen == 3


def test_runs_are_scored_on_each_others_rows(run: Path, work: Path, tmp_path: Path) -> None:
    other = make(tiny_run(work / "cache", condition="post_ln", seed=1), work / "results")
    main([str(run), "--across", str(other), "--to", str(tmp_path / "across")])
    table = pd.read_csv(tmp_path / "across" / "across.csv")
    assert len(table) == 4
    own = table[table["trained_on"].str.startswith("pre_ln")]["macro_f1"].tolist()
    record = read_record(run)
    assert record.test is not None
    assert own == pytest.approx([record.test.metrics["macro_f1"]] * 2, abs=1e-6)  # both have the same test rows


def test_mistakes_end_with_one_line(run: Path, rows_file: Path, tmp_path: Path, fails: Fail) -> None:
    file = ("--data.corpus", "csv", "--data.test_file", rows_file)
    named = (*file, "--data.text_column", "said", "--data.label_column", "digit")
    assert "--data.corpus" in fails(run)
    assert "needs --data.test_file" in fails(run, "--data.corpus", "csv")
    assert "no column 'text'" in fails(run, *file)
    assert "no column 'sauce'" in fails(run, *named, "--groups", "sauce")
    assert "there already" in fails(run, *named, "--to", tmp_path)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    assert "is a link" in fails(run, *named, "--to", link)
    assert "no label that the run knows" in fails(
        run, *file, "--data.text_column", "said", "--data.label_column", "source"
    )
    assert "names a run twice" in fails(run, "--across", run)
    assert "leave out --data" in fails(run, "--across", run, "--data.corpus", "listops")
    assert "choose train" in fails(run, "--data.corpus", "listops", "--split", "tset")
    assert "did you mean" in fails(run, "--data.corpsu", "listops")
    assert "does not exist" in fails(run, "--data.corpus", "csv", "--data.test_file", tmp_path / "none.csv")
    missing = rows_file.with_name("bad.csv")
    missing.write_bytes(b"text,label\n\xff\xfe,1\n")
    assert "bad.csv" in fails(run, "--data.corpus", "csv", "--data.test_file", missing)


def test_runs_of_other_classes_are_not_compared(
    run: Path, model: TrainedModel, tmp_path: Path, fails: Fail, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = shutil.copytree(run, tmp_path / "other")

    def loaded(folder: Path) -> object:
        names = ("0", "1", "ten") if folder == other else model.data.facts.class_names
        return SimpleNamespace(data=SimpleNamespace(facts=SimpleNamespace(class_names=names)))

    monkeypatch.setattr(evaluate, "load", loaded)
    said = fails(run, "--across", other)
    assert "differ: 2, 3, 4, 5, 6, 7, 8, 9 in the first alone, ten in the second alone" in said


def test_empty_and_unknown_texts_are_scored_too(model: TrainedModel) -> None:
    rows = UnseenRows(name="new", texts=["", "zzz qqq", "MAX " * 5_000], labels=["1", "2", "3"])
    assert score_unseen(model, rows).rows == 3


def test_a_corpus_without_groups_says_so(run: Path) -> None:
    with pytest.raises(ValueError, match="no column 'group'"):
        unseen_rows(DataConfig(corpus="listops", listops=load_run_config(run).data.listops), split_by="group")
