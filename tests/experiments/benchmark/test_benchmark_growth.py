"""How cost grows is fitted from medians, told with what was expected, and measured in turning order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console

from experiments.benchmark import __main__ as command
from experiments.benchmark import measure
from experiments.benchmark.growth import AXES, Growth
from experiments.benchmark.sides import train_with_a_plain_loop, train_with_lightning
from experiments.benchmark.speed_page import growth_section
from experiments.benchmark.table import as_measurements, machine, measurement, read_measurements, setting_of
from experiments.benchmark.task import GeneratedTask
from experiments.planning.run_config import RunConfig

SIZES = (1, 2, 4, 8)


def growth(axis: str, seconds: dict[int, float]) -> Growth:
    return Growth(AXES[axis], {size: [value, 0.9 * value, 1.3 * value] for size, value in seconds.items()})


@pytest.mark.parametrize("power", [0.5, 1, 2])
def test_the_exponent_is_that_of_a_power_law(power: float) -> None:
    assert growth("width", {size: 3 * size**power for size in SIZES}).exponent == pytest.approx(power)


def test_a_line_with_a_start_is_straight_and_a_parabola_is_not() -> None:
    line = growth("depth", {size: 5 + 2 * size for size in SIZES})
    assert line.deviation == pytest.approx(0, abs=1e-12) and line.is_straight
    parabola = growth("length", {size: size**2 for size in SIZES})
    assert parabola.deviation > 0.3 and not parabola.is_straight


def test_workers_are_judged_by_a_line_in_their_inverse() -> None:
    assert growth("workers", {size: 1 + 6 / size for size in SIZES}).is_straight
    assert not growth("workers", {size: 6 / size**0.5 for size in SIZES}).is_straight


def test_two_sizes_are_judged_by_proportional_growth() -> None:
    halved, shared = growth("workers", {1: 10.0, 2: 5.0}), growth("workers", {1: 10.0, 2: 6.0})
    assert halved.deviation == pytest.approx(0) and halved.exponent == pytest.approx(-1)
    assert shared.deviation == pytest.approx(1 / 6) and not shared.is_straight


def test_one_size_is_no_growth() -> None:
    with pytest.raises(ValueError, match="at least two"):
        Growth(AXES["depth"], {1: [1.0]})


def test_every_size_is_measured_once_per_round_in_turning_order(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(measure, "seconds_of_runs", lambda config, count: float(seen.append(count) or count))
    options = command.parse(["--growth", "[seeds]", "--rounds", "2", "--steps", "7"])
    rows = measure.measure_growth(RunConfig(), options, Console(quiet=True))
    first, *rest = AXES["seeds"].values
    assert seen == [first, first, *rest, *reversed(rest), first]
    assert [(row["value"], float(row["seconds"])) for row in rows] == [(str(size), size) for size in seen[1:]]
    assert [row["round"] for row in rows] == ["1"] * len(AXES["seeds"].values) + ["2"] * len(AXES["seeds"].values)
    assert {(row["axis"], row["series"], row["steps"]) for row in rows} == {("seeds", "growth+seeds", "7")}


def test_the_table_and_the_sentence_say_how_many_times_as_long() -> None:
    found = growth("depth", {1: 1.0, 2: 1.5, 4: 2.5})
    assert found.sentence.startswith("4 times the blocks take 2.50 times the seconds (exponent 0.66); a line fits")
    setting = setting_of(RunConfig(), "growth+depth") | machine()
    rows = [
        measurement("depth", size, "lightning", setting, round=number, seconds=seconds, steps=20)
        for size, values in found.seconds.items()
        for number, seconds in enumerate(values, start=1)
    ]
    section = growth_section(as_measurements(rows))
    assert section is not None and section.grid.rows[-1] == ["depth", "4", "2.50", "4.0", "2.50"]
    assert f"- **depth**: {found.sentence}" in section.found and "medians of 3 rounds" in section.found[0]


@pytest.mark.parametrize(("axis", "size"), [("depth", 3), ("width", 32), ("length", 9), ("rows", 128)])
def test_a_task_varies_in_one_size_alone(axis: str, size: int) -> None:
    usual = GeneratedTask(RunConfig().with_values({"data.max_length": 32}), steps=5)
    task = measure.task_along(AXES[axis], size, RunConfig(), steps=5)
    sizes = (task.config.model.depth, task.config.model.width, task.data.facts.max_length, task.work().rows)
    usual_sizes = (usual.config.model.depth, usual.config.model.width, 32, 5 * 64)
    changed = [index for index, (one, other) in enumerate(zip(sizes, usual_sizes, strict=True)) if one != other]
    assert changed == [["depth", "width", "length", "rows"].index(axis)]
    assert sizes[changed[0]] == size


def test_generated_rows_can_be_trained_on_by_every_side_of_ours() -> None:
    torch.set_num_threads(1)
    config = RunConfig().with_values(
        {"model.layers": 1, "model.width": 16, "data.max_length": 6, "data.batch_size": 4} | {"trainer.max_epochs": 1}
    )
    task = GeneratedTask(config, steps=3)
    ours, bare = train_with_lightning(task), train_with_a_plain_loop(task)
    assert (ours.steps, ours.rows, ours.tokens) == (bare.steps, bare.rows, bare.tokens) == (3, 12, 72)
    for batch in task.data.train_dataloader():
        assert batch["input_ids"].shape == (4, 6) and batch["attention_mask"].all()


def test_more_workers_than_cores_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, values in ((1, (1,)), (2, (1, 2)), (6, (1, 2, 4, 6))):
        monkeypatch.setattr("experiments.benchmark.measure.usable_cores", lambda cores=cores: cores)
        assert measure.fitting(AXES["workers"]).values == values
    assert measure.fitting(AXES["depth"]) is AXES["depth"]


def test_a_machine_with_one_core_says_that_it_cannot_measure_workers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fails_with_one_line: Callable[..., str]
) -> None:
    monkeypatch.setattr("experiments.benchmark.measure.usable_cores", lambda: 1)
    message = fails_with_one_line(command.main, "--growth", "[workers]", "--results", tmp_path)
    assert "this machine has one core" in message and not list(tmp_path.iterdir())


def test_the_command_writes_measurements_and_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--growth", "[depth]", "--rounds", "1", "--steps", "2", "--width", "16", "--results", str(tmp_path)]
    command.main(options)
    folder = tmp_path / "benchmark"
    rows = read_measurements(folder)
    assert list(rows["value"]) == [str(value) for value in AXES["depth"].values]
    assert (rows["seconds"] > 0).all() and set(rows["steps"]) == {2}
    assert "16 times the blocks take" in (folder / "benchmark.md").read_text()
    printed = " ".join(capsys.readouterr().out.split("\n"))
    assert "16 times the blocks take" in printed and f"wrote {folder / 'benchmark.md'}" in printed
