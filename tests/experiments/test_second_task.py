"""A task of its own: the length of a text as a number, by the mean absolute error, of which less is better.

A task is its module, its spec, a data module if it needs another, and its test. This one is written here alone, and
goes through training, record, outcome and the choice of a tuning trial with no other line about it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_train_cli import fit
from tiny_runs import make, tiny_run
from torch import Tensor
from torchmetrics import MeanAbsoluteError, Metric, R2Score

from data_modules.labelled_text import TextDataModule
from experiments.errors import ExperimentError
from experiments.paths import runs_folder
from experiments.planning.expansion import final_runs, tune_runs
from experiments.planning.grid import Grid
from experiments.planning.runs import Run
from experiments.reporting.frame import Description
from experiments.reporting.grid_report import write_report
from experiments.runs.inference import TrainedModel
from experiments.runs.record import Record
from experiments.runs.run_folder import read_record
from experiments.runs.store import Evidence
from experiments.tasks import TASKS, TaskSpec
from experiments.tasks import Metric as Measured
from lightning_modules.tasks.base import Batch, Evaluation, TaskModule
from lightning_modules.training.metrics import MeanLoss

ERROR = "mean_absolute_error"


class LengthRegressor(TaskModule):
    """Says how many tokens a text has, in tens."""

    def outputs(self) -> int:
        """One number for each text."""
        return 1

    def loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Mean squared error of ``outputs`` ``(B, 1)``."""
        return F.mse_loss(outputs[:, 0], length_of(batch))

    def observe(self, outputs: Tensor, batch: Batch) -> dict[str, Any]:
        """Answers and true lengths, ``(B,)``."""
        answers, lengths = outputs[:, 0].float(), length_of(batch)
        return {"preds": answers, "target": lengths, "loss": F.mse_loss(answers, lengths), "rows": len(lengths)}

    def metrics(self) -> dict[str, Metric]:
        """The mean absolute error and the share of the variance that is explained."""
        return {"loss": MeanLoss(), ERROR: MeanAbsoluteError(), "explained": R2Score()}


def length_of(batch: Batch) -> Tensor:
    return batch["attention_mask"].sum(dim=1) / 10


def no_better_than_the_mean(evaluations: Mapping[str, Evaluation], facts: Any) -> str:
    explained = evaluations["validation"].metrics["explained"]
    return "" if explained > 0 else f"it explains {explained:.2f} of the variance of the validation rows' lengths"


LENGTH = TaskSpec(
    name="length",
    metrics=(
        Measured(name=ERROR, title="mean absolute error", higher_is_better=False, bounds=(0.0, inf), curve=True),
        Measured(name="explained", title="variance explained", bounds=(-inf, 1.0)),
    ),
    primary=ERROR,
    module=LengthRegressor,
    data=TextDataModule,
    collapse=no_better_than_the_mean,
)


@pytest.fixture(autouse=True)
def _there_is_such_a_task(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(TASKS, LENGTH.name, LENGTH)
    yield


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def length_run(cache: Path, **values: Any) -> Run:
    """A run of twelve epochs, whose best weights are not its last."""
    run = tiny_run(cache)
    config = replace(run.config, task="length").with_values({"trainer.max_epochs": 12, "model.learning_rate": 1e-2})
    return replace(run, config=config.with_values(values))


@pytest.fixture(scope="module")
def folder(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TASKS, LENGTH.name, LENGTH)
        return make(length_run(cache), tmp_path_factory.mktemp("results"))


def test_a_record_has_the_metrics_that_the_task_names_and_no_other(folder: Path) -> None:
    record = read_record(folder)
    assert record.task == "length" and record.outcome.status == "trained"
    assert set(record.scores) == {"train", "validation", "test", "test_last"}
    assert {tuple(sorted(scores.metrics)) for scores in record.scores.values()} == {("explained", "loss", ERROR)}
    assert set(record.history["validation"]) == {"step", "tokens", "loss", ERROR}
    assert not (folder / "predictions.parquet").exists()


def test_scores_are_those_of_the_weights_in_the_best_checkpoint(folder: Path, cache: Path) -> None:
    record, data = read_record(folder), TextDataModule.from_config(length_run(cache).config.data)
    module = LengthRegressor.load_from_checkpoint(folder / "best.ckpt")
    with torch.no_grad():
        pairs = [(module(batch)[:, 0].numpy(), length_of(batch).numpy()) for batch in data.test_dataloader()]
    answers, lengths = (np.concatenate(each) for each in zip(*pairs, strict=True))
    assert record.score("test", ERROR) == pytest.approx(np.abs(answers - lengths).mean(), rel=1e-5)
    explained = 1 - np.square(answers - lengths).sum() / np.square(lengths - lengths.mean()).sum()
    assert record.score("test", "explained") == pytest.approx(explained, rel=1e-4)


def test_the_best_checkpoint_has_the_least_error(folder: Path) -> None:
    record = read_record(folder)
    errors = record.history["validation"][ERROR]
    assert record.progress["best_step"] == record.history["validation"]["step"][int(np.argmin(errors))]
    assert record.score("validation", ERROR) == pytest.approx(min(errors), rel=1e-4)
    assert record.progress["best_step"] < record.progress["steps"], "or the last weights would do as well"


def test_collapse_is_the_tasks_own_rule(cache: Path, tmp_path: Path) -> None:
    record = read_record(make(length_run(cache, **{"model.learning_rate": 1e-12}), tmp_path))
    assert record.outcome.status == "collapsed" and record.outcome.reason.startswith("it explains -")


def test_a_run_of_another_task_is_another_run(cache: Path) -> None:
    run = length_run(cache)
    assert run.config.hash() != replace(run.config, task="classification").hash()
    assert run.config.as_dict()["task"] == "length"


def test_only_a_classifier_answers_texts(folder: Path) -> None:
    with pytest.raises(ExperimentError, match="of the task length, and only a classifier answers texts"):
        TrainedModel.load(folder)


GRID = """
task: length
conditions: [pre_ln]
seeds: 1
model: {layers: 1, width: 16, heads: 2}
data: {corpus: listops, max_length: 24, batch_size: 32, listops: {train_rows: 300, evaluation_rows: 80, levels: 1}}
trainer: {max_epochs: 1, accelerator: cpu}
tuning: {spaces: {default: {model.learning_rate: [1.0e-5, 1.0e-2, 1.0e+9]}}}
"""


def test_tuning_chooses_the_trial_with_the_least_error_and_the_report_tables_it(cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "lengths.yaml"
    path.write_text(GRID)
    grid = Grid.load(str(path), {"data": {"cache_dir": str(cache)}})
    assert [run.config.task for run in tune_runs(grid)] == 3 * ["length"]
    records: list[Record] = [read_record(make(run, tmp_path)) for run in tune_runs(grid)]
    errors = [record.score("validation", ERROR) for record in records]
    assert errors[0] is not None and errors[1] is not None and errors[1] < errors[0]
    assert records[2].outcome.status == "diverged" and errors[2] is None
    (final,) = final_runs(grid, records)
    assert final.tuned == {"model.learning_rate": 1e-2} and final.config.task == "length"
    score = read_record(make(final, tmp_path)).score("test", ERROR)
    evidence = Evidence.gather(runs_folder(tmp_path, grid.name, grid.corpus), tmp_path / "none")
    write_report(
        evidence,
        tmp_path / "report",
        Description(arguments="lengths", title="Lengths", conditions=("pre_ln",)),
    )
    (line,) = csv.DictReader((tmp_path / "report" / "summary.csv").open(newline=""))
    assert line[ERROR] == f"{score:.6f}" and "macro_f1" not in line


def test_train_takes_a_task_by_its_name_or_from_a_configuration(folder: Path, tmp_path: Path) -> None:
    again = fit(folder / "config.yaml", tmp_path)
    ours, theirs = read_record(again), read_record(folder)
    assert (ours.task, ours.scores, ours.config_hash) == (theirs.task, theirs.scores, theirs.config_hash)
