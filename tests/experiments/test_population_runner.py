"""A grid whose runs are trained together ends with every run made, and leaves alone what must be made alone."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from tiny_runs import tiny_run

from experiments import ablation
from experiments.making.engines.local import LocalEngine
from experiments.making.population_runner import group, make_populations
from experiments.planning.expansion import final_runs, tune_runs
from experiments.planning.grid import Grid
from experiments.runs import population
from experiments.runs.files import read_record
from experiments.runs.locks import locked

GRID = """
conditions: [pre_ln, plain]
seeds: 2
model: {layers: 1, width: 16, heads: 2}
data: {corpus: listops, max_length: 24, batch_size: 32, listops: {train_rows: 200, evaluation_rows: 60, levels: 1}}
trainer: {max_epochs: 1, accelerator: cpu}
tuning: {seeds: 1, spaces: {default: {model.learning_rate: [1e-3, 1e-2]}}}
"""


@pytest.fixture
def grid_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RESNORM_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "together.yaml"
    path.write_text(GRID)
    return path


def test_a_grid_is_tuned_and_finished_by_populations_alone(
    grid_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*arguments: object) -> None:
        raise AssertionError("a run was made alone")

    monkeypatch.setattr(LocalEngine, "make_runs", forbidden)
    results = tmp_path / "results"
    ablation.main(["run", str(grid_file), "--population", "8", "--results", str(results)])
    grid = Grid.load(str(grid_file), {}, None, None)
    trials = [read_record(run.folder(results)) for run in tune_runs(grid)]
    finals = [read_record(run.folder(results)) for run in final_runs(grid, trials)]
    assert (len(trials), len(finals)) == (4, 4)
    assert {record.environment["population"] for record in trials + finals} == {2}  # of each architecture and stage
    assert all(record.test is None for record in trials) and all(record.test for record in finals)
    report = (results / "together" / "listops" / "report.md").read_text()
    assert "in a population of 2" in report
    ablation.main(["run", str(grid_file), "--results", str(results)])  # nothing is made again, together or alone


def test_groups_are_of_one_architecture_and_no_larger_than_asked(tmp_path: Path) -> None:
    runs = [tiny_run(tmp_path, seed=seed) for seed in range(5)]
    others = [tiny_run(tmp_path, seed=seed, condition="plain") for seed in range(2)]
    alone = [tiny_run(tmp_path, baseline=True), tiny_run(tmp_path, condition="article_layer_norm_dim1")]
    probed = [replace(run, config=run.config.with_values({"probes.every_n_steps": 5})) for run in others]
    names = [[run.name for run in members] for members in group([*runs, *others, *alone, *probed], 2)]
    assert names == [[run.name for run in members] for members in (runs[:2], runs[2:4], others)]


def test_runs_of_a_population_that_an_error_stops_are_left_to_be_made_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def too_large(*arguments: object) -> None:
        raise MemoryError("the device is full")

    runs = [tiny_run(tmp_path / "cache", seed=seed) for seed in range(2)]
    console = Console(force_terminal=False, width=200)
    with monkeypatch.context() as patch:
        patch.setattr(population, "train_together", too_large)
        make_populations(runs, tmp_path, 4, console)
    assert "made one at a time: MemoryError: the device is full" in capsys.readouterr().out
    with locked(runs[0].folder(tmp_path)):
        make_populations(runs, tmp_path, 4, console)
    assert "another process is making one of them" in capsys.readouterr().out
    assert not list(tmp_path.rglob("run.json"))


@pytest.mark.parametrize("size", ["0", "-3"])
def test_an_impossible_size_is_one_sentence(size: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        ablation.main(["run", "smoke", f"--population={size}", "--results", str(tmp_path)])
    assert ending.value.code == 2
    assert "--population" in capsys.readouterr().err


def test_what_the_system_refuses_stops_a_population_and_not_the_grid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(*arguments: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(population, "train_together", out_of_memory)
    runs = [tiny_run(tmp_path / "cache", seed=seed) for seed in (0, 1)]
    console = Console(record=True, width=200)
    make_populations(runs, tmp_path / "results", 2, console)
    said = console.export_text()
    assert "stopped, so they are made one at a time" in said and "Cannot allocate memory" in said
