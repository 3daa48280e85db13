"""A budget in epochs, steps or tokens: training takes it to the step, and its schedule is as long."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from test_train_cli import complaint, curves, fit, weights
from tiny_runs import make, tiny_run

from data_modules.labelled_text import TextDataModule
from experiments.errors import ExperimentError
from experiments.planning.run_config import RunConfig, TrainerConfig, steps_of
from experiments.planning.runs import Run
from experiments.planning.saved_runs import load_run_config
from experiments.planning.yaml_files import write_yaml
from experiments.runs.record import Record
from experiments.runs.run_folder import read_record
from lightning_modules.tasks.classification import TextClassifier

STEPS_PER_EPOCH = 10
"""Of a tiny run: 300 rows by 32."""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def with_budget(cache: Path, **budget: Any) -> Run:
    run = tiny_run(cache)
    values = {f"trainer.{name}": value for name, value in budget.items()}
    return replace(run, config=run.config.with_values({"trainer.log_every_n_steps": 1, **values}))


def numbers(record: Record) -> tuple[Any, ...]:
    return record.scores, record.history, record.progress, record.outcome


@pytest.mark.parametrize(
    ("trainer", "flags", "steps"),
    [
        ({"max_epochs": 3}, {}, 21),
        ({"max_epochs": 3}, {"accumulate_grad_batches": 4}, 6),
        ({"max_epochs": 3, "max_steps": 5}, {}, 5),
        ({"max_tokens": 1000}, {}, 7),
        ({"max_tokens": 1001}, {}, 8),
        ({"max_tokens": 2500}, {"accumulate_grad_batches": 4}, 5),
        ({"max_tokens": 1}, {}, 1),
    ],
    ids=str,
)
def test_steps_are_those_of_the_budget(trainer: dict[str, int], flags: dict[str, int], steps: int) -> None:
    facts = SimpleNamespace(steps_per_epoch=7, train_tokens=1000)
    assert steps_of(RunConfig(trainer=TrainerConfig(**trainer), trainer_flags=flags), facts) == steps


@pytest.mark.parametrize(("steps", "validated", "epochs"), [(7, [7], 0), (20, [10, 20], 2), (23, [10, 20, 23], 2)])
def test_a_budget_of_steps_ends_with_a_validation_and_a_rate_near_zero(
    cache: Path, tmp_path: Path, steps: int, validated: list[int], epochs: int
) -> None:
    record = read_record(make(with_budget(cache, max_steps=steps), tmp_path))
    assert record.progress["steps"] == record.outcome.step == steps
    assert record.progress["epochs"] == epochs
    assert record.history["validation"]["step"] == validated
    assert record.progress["best_step"] in validated and record.test is not None
    rates = record.history["train"]["learning_rate"]
    warm_up = round(0.1 * steps)
    assert len(rates) == steps and max(rates) == pytest.approx(1e-2)
    assert rates[-1] == pytest.approx(1e-2 / (steps - warm_up), rel=1e-4)


def test_steps_of_two_epochs_are_two_epochs(cache: Path, tmp_path: Path) -> None:
    by_steps = read_record(make(with_budget(cache, max_steps=2 * STEPS_PER_EPOCH), tmp_path / "steps"))
    by_epochs = read_record(make(with_budget(cache, max_epochs=2), tmp_path / "epochs"))
    assert numbers(by_steps) == numbers(by_epochs)
    assert by_steps.config_hash != by_epochs.config_hash


def test_a_budget_of_tokens_is_met_to_a_step(cache: Path, tmp_path: Path) -> None:
    run = with_budget(cache, max_tokens=4000)
    data = TextDataModule.from_config(run.config.data)
    assert data.facts.train_tokens == sum(int(batch["attention_mask"].sum()) for batch in data.train_dataloader())
    record = read_record(make(run, tmp_path))
    longest_step = 32 * run.config.data.max_length
    assert abs(record.progress["tokens_seen"] - 4000) < longest_step
    assert record.progress["steps"] == steps_of(run.config, data.facts) == len(record.history["train"]["step"])


def test_an_interrupted_and_resumed_run_with_a_budget_of_steps_equals_an_undisturbed_one(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = tmp_path / "steps.yaml"
    write_yaml(configuration, with_budget(cache, max_steps=17).config.as_dict())
    undisturbed = fit(configuration, tmp_path / "undisturbed")

    def interrupt(module: TextClassifier, outputs: object, batch: object, batch_idx: int) -> None:
        if module.current_epoch == 1 and batch_idx == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(TextClassifier, "on_train_batch_end", interrupt)
        fit(configuration, tmp_path / "resumed")
    resumed = fit(configuration, tmp_path / "resumed", "--ckpt_path", "last")
    assert numbers(read_record(resumed)) == numbers(read_record(undisturbed))
    assert curves(resumed) == curves(undisturbed)
    assert all(torch.equal(weights(resumed)[name], tensor) for name, tensor in weights(undisturbed).items())


@pytest.mark.parametrize("budget", [{"max_steps": 3}, {"max_tokens": 900}], ids=str)
def test_a_grid_and_train_take_the_same_steps(cache: Path, tmp_path: Path, budget: dict[str, int]) -> None:
    run = with_budget(cache, **budget)
    from_grid = make(run, tmp_path / "grid")
    from_train = fit(from_grid / "config.yaml", tmp_path / "train")
    assert numbers(read_record(from_train)) == numbers(read_record(from_grid))
    assert load_run_config(from_train).hash() == load_run_config(from_grid).hash() == run.config.hash()


def test_two_budgets_or_none_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ExperimentError, match=r"trainer\.max_steps 5 and trainer\.max_tokens 9 are two budgets"):
        TrainerConfig(max_steps=5, max_tokens=9)
    for name in ("max_steps", "max_tokens"):
        with pytest.raises(ExperimentError, match=rf"trainer\.{name} is 0; it must be at least 1"):
            TrainerConfig(**{name: 0})
    assert "max_steps is 0; it must be at least 1" in complaint(capsys, "fit", "--trainer.max_steps", "0")


def test_a_run_in_epochs_keeps_the_hash_that_it_had_before_there_were_other_budgets() -> None:
    assert RunConfig().hash() == "853751a1d84b053b"
    assert not {"max_steps", "max_tokens", "task"} & {*RunConfig().identity(), *RunConfig().identity()["trainer"]}
    assert RunConfig(trainer=TrainerConfig(max_steps=9)).hash() != RunConfig().hash()


def test_validations_come_after_so_many_steps_whatever_the_epoch(cache: Path, tmp_path: Path) -> None:
    run = with_budget(cache, max_steps=STEPS_PER_EPOCH + 5, validate_every_n_steps=6)
    record = read_record(make(run, tmp_path))
    assert record.history["validation"]["step"] == [6, 12, STEPS_PER_EPOCH + 5]
    write_yaml(tmp_path / "run.yaml", run.config.as_dict())
    assert read_record(fit(tmp_path / "run.yaml", tmp_path)).scores == record.scores
    assert load_run_config(tmp_path / run.folder(tmp_path)).trainer == run.config.trainer
    with pytest.raises(ExperimentError, match=r"validate_every_n_steps is 0; it must be at least 1, or null for val_"):
        TrainerConfig(validate_every_n_steps=0)
