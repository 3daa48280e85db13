"""Every flag of Lightning's Trainer, given to `experiments.train fit`, does what it says or is refused in one line."""

from __future__ import annotations

import contextlib
import inspect
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from tiny_runs import tiny_run

from experiments import train
from experiments.planning.yaml_files import write_yaml
from experiments.runs.record import Record
from experiments.runs.run_folder import read_record
from experiments.runs.training import FIXED_FLAGS, REFUSED_FLAGS, WORKING_FLAGS

Fail = Callable[..., str]
FLAGS = set(inspect.signature(Trainer.__init__).parameters) - {"self"}
STEPS = 10
"""Training batches of an epoch: 300 rows, 32 in a batch."""


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield  # `train` sets one thread
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of a tiny run of two epochs."""
    folder = tmp_path_factory.mktemp("flags")
    settings = tiny_run(folder / "cache").config.as_dict()
    settings["trainer"] |= {"max_epochs": 2, "log_every_n_steps": 1}
    write_yaml(folder / "tiny.yaml", settings)
    return folder / "tiny.yaml"


def fit(configuration: Path, results: Path, *more: str) -> Record:
    """Train, and return the record."""
    output = io.StringIO()
    folders = ["--config", str(configuration), "--results", str(results), "--trainer.enable_progress_bar", "false"]
    with contextlib.redirect_stdout(output):
        train.main(["fit", *folders, *more])
    line = next(line for line in output.getvalue().splitlines() if line.startswith("run folder: "))
    return read_record(Path(line.removeprefix("run folder: ")))


@pytest.fixture(scope="module")
def usual(configuration: Path, tmp_path_factory: pytest.TempPathFactory) -> Record:
    return fit(configuration, tmp_path_factory.mktemp("usual"))


def numbers(record: Record) -> dict[str, Any]:
    content = json.loads(record.to_json())
    return {name: content[name] for name in ("scores", "progress", "history", "outcome", "model")}


def test_every_flag_of_this_lightning_is_sorted() -> None:
    assert WORKING_FLAGS | FIXED_FLAGS | REFUSED_FLAGS.keys() == FLAGS
    assert len(WORKING_FLAGS) + len(FIXED_FLAGS) + len(REFUSED_FLAGS) == len(FLAGS)
    checked = {flag for flag, _ in SAME} | {flag for flag, _, _ in OTHER} | {"devices", "strategy", "callbacks"}
    assert checked == WORKING_FLAGS, "devices and strategies are those of test_processes.py"


SAME = [
    ("accelerator", "cpu"),
    ("strategy", "auto"),
    ("devices", "auto"),
    ("inference_mode", "false"),
    ("detect_anomaly", "true"),
    ("reload_dataloaders_every_n_epochs", "1"),
    ("precision", "32"),
    ("enable_progress_bar", "true"),
    ("profiler", "simple"),
    ("gradient_clip_algorithm", "norm"),
]


@pytest.mark.parametrize(("flag", "value"), SAME)
def test_a_flag_that_decides_no_number_leaves_all_of_them(
    flag: str, value: str, configuration: Path, usual: Record, tmp_path: Path
) -> None:
    assert numbers(fit(configuration, tmp_path, f"--trainer.{flag}", value)) == numbers(usual)


def steps(record: Record) -> Any:
    return record.progress["steps"]


def validations(record: Record) -> Any:
    return record.history["validation"]["step"]


def last_rate(record: Record) -> float:
    return record.history["train"]["learning_rate"][-1]


OTHER: list[tuple[str, str, Callable[[Record, Record], bool]]] = [
    ("max_epochs", "3", lambda record, usual: steps(record) == 3 * STEPS),
    ("max_steps", "7", lambda record, usual: steps(record) == 7 and validations(record) == [7]),
    ("limit_train_batches", "3", lambda record, usual: steps(record) == 6 and last_rate(record) < 0.01 / 3),
    ("limit_train_batches", "0.5", lambda record, usual: steps(record) == 10 and last_rate(record) < 0.01 / 5),
    ("val_check_interval", "0.5", lambda record, usual: validations(record) == [5, 10, 15, 20]),
    ("check_val_every_n_epoch", "2", lambda record, usual: validations(record) == [20]),
    ("log_every_n_steps", "5", lambda record, usual: record.history["train"]["step"] == [1, 5, 10, 15, 20]),
    ("accumulate_grad_batches", "5", lambda record, usual: steps(record) == 4 and last_rate(record) < 0.01 / 2),
    ("gradient_clip_val", "0.01", lambda record, usual: numbers(record)["scores"] != numbers(usual)["scores"]),
    ("gradient_clip_algorithm", "value", lambda record, usual: record.history["train"] != usual.history["train"]),
    ("precision", "bf16", lambda record, usual: record.environment["precision"] == "bf16-mixed"),
    ("precision", "bf16-true", lambda record, usual: record.environment["precision"] == "bf16-true"),
    ("precision", "64-true", lambda record, usual: record.environment["precision"] == "64-true"),
]


@pytest.mark.parametrize(("flag", "value", "holds"), OTHER, ids=lambda part: part if isinstance(part, str) else "")
def test_a_flag_does_what_it_says(
    flag: str,
    value: str,
    holds: Callable[[Record, Record], bool],
    configuration: Path,
    usual: Record,
    tmp_path: Path,
) -> None:
    record = fit(configuration, tmp_path, f"--trainer.{flag}", value)
    assert holds(record, usual)
    assert record.outcome.status in ("trained", "collapsed") and record.config_hash != usual.config_hash


GIVEN = {
    "num_nodes": "2",
    "fast_dev_run": "true",
    "min_epochs": "2",
    "min_steps": "3",
    "max_time": "00:00:01:00",
    "limit_val_batches": "1",
    "limit_test_batches": "1",
    "limit_predict_batches": "1",
    "overfit_batches": "1",
    "benchmark": "true",
    "plugins": "AsyncCheckpointIO",
    "sync_batchnorm": "true",
    "enable_autolog_hparams": "false",
    "model_registry": "somewhere",
    "logger": "false",
    "default_root_dir": "elsewhere",
    "deterministic": "false",
    "enable_checkpointing": "false",
    "enable_model_summary": "true",
    "num_sanity_val_steps": "2",
    "barebones": "true",
    "use_distributed_sampler": "false",
}


@pytest.mark.parametrize("flag", sorted(FIXED_FLAGS | REFUSED_FLAGS.keys()))
def test_a_flag_that_no_run_takes_is_refused_before_anything_is_written(
    flag: str, configuration: Path, tmp_path: Path, fails_with_one_line: Fail
) -> None:
    options = ["fit", "--config", configuration, "--results", tmp_path / "results"]
    message = fails_with_one_line(train.main, *options, f"--trainer.{flag}", GIVEN[flag])
    assert f"trainer.{flag}" in message or flag in message
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--trainer.precision", "16-mixed"], "computes in bf16-mixed instead"),
        (["--trainer.precision", "16"], "computes in bf16-mixed instead"),
        (["--trainer.precision", "16-true"], "16-true"),
        (["--trainer.gradient_clip_val", "-1"], "must be above 0"),
        (["--trainer.gradient_clip_algorithm", "both"], "gradient_clip_algorithm"),
        (["--trainer.limit_train_batches", "0"], "must be above 0"),
        (["--trainer.limit_train_batches", "0.01"], "Lightning cannot train so"),
        (["--trainer.accumulate_grad_batches", "0"], "must be above 0"),
        (["--trainer.callbacks", "LearningRateFinder"], "model.learning_rate"),
        (["--trainer.callbacks+", "BatchSizeFinder"], "data.batch_size"),
        (["--trainer.strategy", "ddp_spawn", "--trainer.devices", "2"], "choose ddp"),
        (["--model", "[1, 2]"], "model"),
    ],
    ids=lambda part: " ".join(part)[10:] if isinstance(part, list) else "",
)
def test_a_value_that_would_mislead_is_refused_in_one_line(
    options: list[str], reason: str, configuration: Path, tmp_path: Path, fails_with_one_line: Fail
) -> None:
    message = fails_with_one_line(train.main, "fit", "--config", configuration, "--results", tmp_path, *options)
    assert reason in message


def test_one_callback_is_taken_as_in_a_list(configuration: Path, usual: Record, tmp_path: Path) -> None:
    one = fit(configuration, tmp_path, "--trainer.callbacks", "LearningRateMonitor")
    assert numbers(one) == numbers(usual)


def test_a_section_that_holds_no_names_is_refused(
    configuration: Path, tmp_path: Path, fails_with_one_line: Fail
) -> None:
    (tmp_path / "wrong.yaml").write_text("model: [1, 2]\n")
    for option in ("--config", "-c"):
        message = fails_with_one_line(train.main, "fit", "--config", configuration, option, tmp_path / "wrong.yaml")
        assert "the section model must hold names and values" in message


def test_training_goes_on_with_the_same_settings_only(
    configuration: Path, tmp_path: Path, fails_with_one_line: Fail
) -> None:
    fit(configuration, tmp_path)
    options = ["--config", configuration, "--results", tmp_path]
    (checkpoint,) = tmp_path.rglob("last.ckpt")

    def said(*more: str) -> str:
        return fails_with_one_line(train.main, "fit", *options, "--ckpt_path", checkpoint, *more)

    assert "has 2 epochs, and trainer.max_epochs is 1" in said("--trainer.max_epochs", "1")
    assert "with trainer.max_epochs 2, and this command asks for 3" in said("--trainer.max_epochs", "3")
    assert "data.batch_size 32" in said("--data.batch_size", "16")
    assert "trainer.gradient_clip_val 1.0" in said("--trainer.gradient_clip_val", "0.5")
    assert "model.seed 0" in said("--seed_everything", "1")
    assert "trainer.accumulate_grad_batches None" in said("--trainer.accumulate_grad_batches", "2")


def test_a_schedule_with_a_length_of_its_own_lets_training_go_on_to_a_larger_budget(
    configuration: Path, tmp_path: Path
) -> None:
    spans = ["--model.schedule_epochs", "4"]
    whole = fit(configuration, tmp_path / "whole", *spans, "--trainer.max_epochs", "3")
    fit(configuration, tmp_path / "parts", *spans)
    (checkpoint,) = (tmp_path / "parts").rglob("last.ckpt")
    further = ["--trainer.max_epochs", "3", "--ckpt_path", str(checkpoint)]
    assert numbers(fit(configuration, tmp_path / "parts", *spans, *further)) == numbers(whole)
