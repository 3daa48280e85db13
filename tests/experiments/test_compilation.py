"""``--compile auto`` compiles where a run is long enough to win back what it takes, and only there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_runs import tiny_run

from data_modules.config import DataConfig
from experiments import ablation
from experiments.errors import ExperimentError
from experiments.making import population_runner
from experiments.planning.run_config import ProbesConfig, RunConfig, TrainerConfig
from experiments.runs import automatic, compilation
from experiments.runs.compilation import Measured, choose_compilation, decide
from experiments.runs.trial_steps import BFLOAT16, Choice, Trial
from lightning_modules.config import ModelConfig


def tiny_config(cache: Path) -> RunConfig:
    return RunConfig(
        model=ModelConfig(variant="post_ln", layers=1, width=16, heads=2),
        data=DataConfig(max_length=8, batch_size=4, cache_dir=str(cache)),
        trainer=TrainerConfig(accelerator="cpu"),
    )


@pytest.mark.parametrize(
    ("measured", "steps", "compiles"),
    [
        (Measured(plain=0.05, compiled=0.03, start=40.0), 2001, True),  # 0.02 s × 2,001 = 40.02 s
        (Measured(plain=0.05, compiled=0.03, start=40.0), 1999, False),
        (Measured(plain=0.05, compiled=0.05, start=0.0), 10**6, False),
        (Measured(plain=0.03, compiled=0.05, start=40.0), 10**6, False),
    ],
)
def test_the_steps_must_win_back_the_start(measured: Measured, steps: int, compiles: bool) -> None:
    choice = decide(measured, steps)
    assert choice.value is compiles
    assert f"{steps:,} steps" in choice.reason


def test_a_short_run_is_not_even_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "missing_compiler", lambda device: "")
    monkeypatch.setattr(compilation, "measure", lambda *arguments: pytest.fail("compiled for a short run"))
    choice = choose_compilation(tiny_config(tmp_path), steps=10)
    assert choice.value is False
    assert "too short" in choice.reason


def test_without_a_compiler_nothing_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "missing_compiler", lambda device: "no C++ compiler is found")
    monkeypatch.setattr(compilation, "seconds_of_a_step", lambda *arguments: pytest.fail("measured in vain"))
    assert choose_compilation(tiny_config(tmp_path), steps=10**9) == Choice(False, "no C++ compiler is found")


def test_a_long_run_is_measured_once_for_all_lengths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[Trial] = []
    monkeypatch.setattr(compilation, "missing_compiler", lambda device: "")
    monkeypatch.setattr(compilation, "seconds_of_a_step", lambda config, device: 1.0)
    monkeypatch.setattr(compilation, "seconds_to_compile", lambda trial: starts.append(trial) or 100.0)
    seconds = iter([0.3, 0.15] * compilation.PAIRS)  # of three steps as they are, then compiled
    monkeypatch.setattr(compilation, "timed", lambda step, device: next(seconds))
    config = tiny_config(tmp_path)
    assert choose_compilation(config, steps=3000).value is True  # wins back 0.05 s × 3,000
    assert choose_compilation(config, steps=1000).value is False
    assert len(starts) == 1


def test_the_start_is_that_of_training_and_of_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bool, bool]] = []
    trial = Trial.of(tiny_config(tmp_path), torch.device("cpu"), BFLOAT16)
    monkeypatch.setattr(type(trial.network), "compile_blocks", lambda network: None)
    trial.network.register_forward_hook(lambda network, *rest: seen.append((network.training, torch.is_grad_enabled())))
    assert compilation.seconds_to_compile(trial) > 0
    assert seen == [(True, True), (False, False)]
    assert trial.network.training


def test_the_grid_is_named_by_what_was_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, int]] = []

    def choose(config: RunConfig, steps: int) -> Choice[bool]:
        asked.append((config.trainer.precision, steps))
        return Choice(True, "it pays")

    monkeypatch.setattr(compilation, "choose_compilation", choose)
    options = ["--compile", "auto", "--trainer.max_epochs", "3", "--results", str(tmp_path)]
    ablation.main(["status", "smoke", *options, "--data.cache_dir", str(tmp_path / "cache")])
    shown = capsys.readouterr().out
    assert "compile true: it pays" in shown
    assert "compile=true" in shown
    rows, batch_size = 512, 32  # of the grid smoke
    assert asked == [("32-true", 3 * -(-rows // batch_size))]


def test_a_given_setting_and_a_measured_one_exclude_each_other() -> None:
    with pytest.raises(ExperimentError, match=r"--compile auto chooses what --model\.compile sets"):
        automatic.refuse_both("compile", {"compile": False})


def test_compiling_is_part_of_a_runs_identity_only_where_it_is_on() -> None:
    plain, compiled = RunConfig(), RunConfig(model=ModelConfig(compile=True))
    assert "compile" not in plain.identity()["model"]
    assert compiled.identity()["model"]["compile"] is True
    assert plain.hash() != compiled.hash()


def test_probes_and_populations_do_without(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"model\.compile"):
        RunConfig(model=ModelConfig(compile=True), probes=ProbesConfig(every_n_steps=5))
    run = tiny_run(tmp_path)
    assert population_runner.can_join(run)
    run.config.model.compile = True
    assert not population_runner.can_join(run)
