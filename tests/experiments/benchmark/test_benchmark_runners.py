"""The same runs by several ways end alike; a profile puts every operator into one kind."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console
from tiny_runs import tiny_run

from experiments.benchmark import __main__ as command
from experiments.benchmark import runners
from experiments.benchmark.profile_step import BETWEEN, KINDS, SMALL, kind_of, measure_profile, seconds_by_kind
from experiments.benchmark.runners import Made, grid_of, made_by, measure_runners, refuse_other_scores
from experiments.errors import ExperimentError
from experiments.planning.expansion import final_runs
from experiments.planning.grid import Grid
from experiments.planning.run_config import RunConfig
from experiments.planning.yaml_files import write_yaml


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    return tiny_run(tmp_path_factory.mktemp("runners")).config


def test_the_grid_of_the_runners_holds_the_runs_of_the_scripts(config: RunConfig, tmp_path: Path) -> None:
    path = tmp_path / "runners.yaml"
    write_yaml(path, grid_of(config, 3))
    runs = final_runs(Grid.load(str(path)), [])
    assert [run.config for run in runs] == [config.with_seed(seed) for seed in range(3)]


def test_scripts_leave_as_many_runs_as_asked_for(config: RunConfig) -> None:
    made = made_by("scripts", config, 1, 1)
    assert 0 < made.first == made.last and 0 < made.idle < 1 and set(made.scores) == {0}


def test_a_command_that_fails_is_told_with_its_last_line(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = [["python", "-c", "raise SystemExit('no room')"]]
    monkeypatch.setattr(runners, "commands_of", lambda *given: broken)
    with pytest.raises(ExperimentError, match="ended with status 1: no room"):
        made_by("scripts", config, 1, 1)


def test_ways_that_end_with_other_scores_did_not_make_the_same_runs() -> None:
    one, other = Made(1.0, 2.0, 0.5, {0: 0.25}), Made(1.0, 2.0, 0.5, {0: 0.5})
    refuse_other_scores({"grid": one, "scripts": one})
    with pytest.raises(ExperimentError, match="grid and ray ended with different scores"):
        refuse_other_scores({"grid": one, "scripts": one, "ray": other})


def test_a_way_that_is_not_installed_is_left_out_and_said(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runners, "find_spec", lambda package: None)
    monkeypatch.setattr(runners, "made_by", lambda name, config, runs, workers: Made(1.0, 36.0, 0.25, {}))
    options = command.parse(["--runners", "--runs", "4", "--workers", "2", "--worker_rounds", "1"])
    rows = measure_runners(config, options, Console())
    assert [(row["value"], row["processes"], row["runs_per_hour"]) for row in rows] == [
        ("grid", "2", "400.0"),
        ("scripts", "1", "400.0"),
    ]
    assert "left out: ray" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("operator", "kind"),
    [
        ("aten::addmm", "matrix products"),
        ("aten::bmm", "matrix products"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu_backward", "attention"),
        ("aten::native_layer_norm_backward", "norms"),
        ("aten::_fused_adamw_", "optimiser and clipping"),
        ("aten::linalg_vector_norm", "optimiser and clipping"),
        ("aten::random_", "dropout"),
        ("aten::copy_", "copies and casts"),
        ("aten::add", SMALL),
        ("aten::threshold_backward", SMALL),
    ],
)
def test_an_operator_counts_once_by_its_name(operator: str, kind: str) -> None:
    assert kind_of(operator) == kind
    assert seconds_by_kind({operator: 2.0, "Optimizer.step#AdamW.step": 9.0})[kind] == 2.0


def test_a_profile_divides_the_seconds_of_training(config: RunConfig) -> None:
    rows = measure_profile(config, command.parse(["--profile", "plain"]), Console(quiet=True))
    seconds = {row["value"]: float(row["seconds"]) for row in rows}
    assert set(seconds) == {*KINDS, SMALL, BETWEEN}
    for kind in ("attention", "matrix products", "norms", "optimiser and clipping", "dropout", "copies and casts"):
        assert seconds[kind] > 0, kind
