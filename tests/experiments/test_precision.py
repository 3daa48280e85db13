"""``--precision auto`` takes bfloat16 where it is faster and safe, and stays with what it decided."""

from __future__ import annotations

import pytest
import torch

from data_modules.config import DataConfig
from experiments import ablation
from experiments.making import grid_runner
from experiments.planning.run_config import RunConfig, TrainerConfig
from experiments.runs import precision
from experiments.runs.precision import BFLOAT16, FLOAT32, Choice, Trial, choose_precision, decide, slow_precision
from lightning_modules.config import ModelConfig


def tiny_config(cache, **trainer) -> RunConfig:
    return RunConfig(
        model=ModelConfig(variant="post_ln", layers=2, width=16, heads=2),
        data=DataConfig(max_length=8, batch_size=4, cache_dir=str(cache)),
        trainer=TrainerConfig(**trainer),
    )


@pytest.mark.parametrize(
    ("speedup", "loss", "chosen"),
    [
        (2.0, 1.500, BFLOAT16),
        (1.1, 1.525, BFLOAT16),
        (1.09, 1.500, FLOAT32),  # not worth it
        (3.0, 1.54, FLOAT32),  # another loss
        (3.0, float("nan"), FLOAT32),
        (3.0, float("inf"), FLOAT32),
    ],
)
def test_bfloat16_must_be_faster_and_must_learn_the_same(speedup, loss, chosen):
    choice = decide(speedup, {FLOAT32: 1.5, BFLOAT16: loss})
    assert choice.value == chosen
    assert (f"{speedup:.2f} times" in choice.reason) or f"{loss:.3g}" in choice.reason


def test_the_choice_is_measured_once_and_then_remembered(tmp_path, monkeypatch):
    config, measured = tiny_config(tmp_path), []
    seconds = iter([0.2, 0.1] * 100)
    monkeypatch.setattr(Trial, "seconds", lambda trial, device: measured.append(trial.step()) or next(seconds))
    first = choose_precision(config)
    count = len(measured)
    assert count == 2 * (precision.PAIRS + 1)
    assert choose_precision(config) == first
    assert len(measured) == count
    deeper = RunConfig(model=ModelConfig(variant="post_ln", layers=9, width=16, heads=2), data=config.data)
    assert choose_precision(deeper) == first  # depth multiplies both times alike
    assert len(measured) == count
    wider = RunConfig(model=ModelConfig(variant="post_ln", layers=2, width=32, heads=2), data=config.data)
    choose_precision(wider)
    assert len(measured) > count


def test_what_is_measured_trains_and_differs_in_precision_alone(tmp_path):
    device = torch.device("cpu")
    losses = {}
    for name in (FLOAT32, BFLOAT16):
        step = Trial.of(tiny_config(tmp_path), device, name).step
        losses[name] = [float(step()) for _ in range(30)]
    assert losses[FLOAT32] != losses[BFLOAT16]
    assert losses[FLOAT32][0] == pytest.approx(losses[BFLOAT16][0], rel=0.01)
    assert losses[FLOAT32][-1] < losses[FLOAT32][0]


@pytest.mark.parametrize(
    ("capabilities", "is_slow"),
    [
        ({"architecture": "x86_64", "avx2": True, "avx512_bw": False, "avx_ne_convert": False}, True),
        ({"architecture": "x86_64", "avx512_bw": True, "avx_ne_convert": False}, False),
        ({"architecture": "x86_64", "avx512_bw": False, "avx_ne_convert": True}, False),
        ({"architecture": "aarch64"}, False),  # not measured, so nothing is said
    ],
)
def test_a_processor_that_computes_bfloat16_in_software_is_told_of(capabilities, is_slow, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    configs = [RunConfig(trainer=TrainerConfig(precision=name)) for name in (FLOAT32, BFLOAT16)]
    advice = slow_precision(configs)
    assert (advice is not None) == is_slow
    assert slow_precision(configs[:1]) is None
    assert advice is None or "--precision auto" in advice


def test_a_grid_in_slow_bfloat16_says_so_before_its_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(precision, "emulates_bfloat16", lambda device: True)
    monkeypatch.setattr(grid_runner, "run_grid", lambda *_, **__: [])
    monkeypatch.setattr(ablation, "report", lambda *_, **__: None)
    for chosen, count in ((BFLOAT16, 1), (FLOAT32, 0)):
        ablation.main(["run", "smoke", "--trainer.precision", chosen, "--results", str(tmp_path)])
        assert capsys.readouterr().out.count("has no bfloat16 instructions") == count


def test_the_grid_is_named_by_what_was_chosen(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(precision, "choose_precision", lambda config: Choice(BFLOAT16, "twice as fast"))
    ablation.main(["status", "smoke", "--precision", "auto", "--results", str(tmp_path)])
    shown = capsys.readouterr().out
    assert "precision bf16-mixed: twice as fast" in shown
    assert "smoke+precision=bf16-mixed on listops" in shown


def test_a_given_precision_and_a_measured_one_exclude_each_other(tmp_path, capsys):
    options = ["--precision", "auto", "--trainer.precision", "32-true", "--results", str(tmp_path)]
    with pytest.raises(SystemExit) as ended:
        ablation.main(["plan", "smoke", *options])
    assert ended.value.code == 2
    assert "give one or the other" in capsys.readouterr().err
