"""Steps of variants are compared within rounds, told beside their interval, and measured in changing order."""

from __future__ import annotations

import csv
from pathlib import Path
from statistics import median

import pytest
from tiny_runs import tiny_run

from experiments import benchmark as command
from experiments.benchmarking import measure_variants as measuring
from experiments.benchmarking.rounds import Round
from experiments.benchmarking.task import Task, Timing
from experiments.benchmarking.variants import VariantTimes, chosen_variants
from experiments.benchmarking.variants_page import finding, rounds_grid, variants_grid
from experiments.planning.run_config import RunConfig

MACHINE = {"date": "2026-01-01", "cpu": "none", "cores": "2", "load_average": "0.0"}
SLOWNESS = [1.0, 1.1, 2.0, 1.3, 1.0, 1.2, 1.1]
"""How much slower than usual the machine was in each round."""
STEP = {"pre_ln": 0.011, "post_ln": 0.010, "plain": 0.006}
"""Seconds of a step on the usual machine."""


def timing(seconds: float, steps: int = 20) -> Timing:
    return Timing(seconds=seconds, rows=40, tokens=1_000, positions=1_250, steps=steps, parameters={})


def times(step: dict[str, float], spells: list[float] = SLOWNESS) -> VariantTimes:
    rounds = [
        Round(number, {name: timing(20 * seconds * slow) for name, seconds in step.items()}, {})
        for number, slow in enumerate(spells, start=1)
    ]
    return VariantTimes(list(step), RunConfig(), rounds, MACHINE)


def test_milliseconds_are_those_of_a_step_and_ratios_are_free_of_slow_spells() -> None:
    found = times(STEP)
    assert (found.reference, found.steps) == ("post_ln", 20)
    assert found.step("post_ln").median == pytest.approx(1000 * 0.010 * median(SLOWNESS))
    assert (found.step("post_ln").low, found.step("post_ln").high) == pytest.approx((10.0, 20.0))
    ratio = found.ratio("plain")
    assert (ratio.low, ratio.median, ratio.high) == pytest.approx((0.6, 0.6, 0.6))


def test_without_post_ln_the_first_variant_is_the_reference() -> None:
    found = times({name: STEP[name] for name in ("pre_ln", "plain")})
    assert found.reference == "pre_ln"
    assert found.ratio("plain").median == pytest.approx(6 / 11)


def test_the_table_and_the_sentence_name_fastest_and_slowest() -> None:
    grid = variants_grid(times(STEP))
    assert grid.columns[-1] == "÷ Post-LN"
    assert [(row[0], row[-1]) for row in grid.rows] == [
        ("Pre-LN", "1.100 [1.100, 1.100]"),
        ("Post-LN", "1.000 [1.000, 1.000]"),
        ("Plain", "0.600 [0.600, 0.600]"),
    ]
    both = "0.60 [0.60, 0.60] times as long under Plain and 1.10 [1.10, 1.10] times as long under Pre-LN"
    assert finding(times(STEP)) == f"A training step takes {both} as under Post-LN."
    more = finding(times(STEP | {"no_norm": 0.008}))
    assert more == f"A training step takes {both} as under Post-LN; all others lie between."


def test_every_measurement_is_a_row_with_its_setting() -> None:
    grid = rounds_grid(times(STEP))
    rows = [dict(zip(grid.columns, row, strict=True)) for row in grid.rows]
    assert len(rows) == len(SLOWNESS) * len(STEP)
    third = next(row for row in rows if (row["round"], row["variant"]) == ("3", "plain"))
    assert (third["milliseconds_per_step"], third["over_post_ln"], third["steps"]) == ("12.000000", "0.600000", "20")
    assert third["precision"] == RunConfig().trainer.precision and third["cpu"] == "none"


def test_the_variants_of_the_claims_are_measured_unless_others_are_named() -> None:
    assert chosen_variants([]) == [
        "post_ln",
        "pre_ln",
        "no_residual",
        "no_residual_pre",
        "no_norm",
        "plain",
        "bag_of_embeddings",
    ]
    assert chosen_variants(["plain", "rezero"]) == ["plain", "rezero"]


def test_the_command_writes_rounds_page_and_figure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_run(tmp_path / "cache", stage="tune").config
    monkeypatch.setattr(command, "configuration", lambda options: config)
    command.main(["--variants", "[plain,post_ln]", "--rounds", "2", "--results", str(tmp_path)])
    folder = tmp_path / "benchmark"
    with (folder / "variants.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["variant"] for row in rows] == ["plain", "post_ln", "post_ln", "plain"]
    assert {(row["steps"], row["tokens"]) for row in rows} == {(rows[0]["steps"], rows[0]["tokens"])}
    assert all(float(row["milliseconds_per_step"]) > 0 for row in rows)
    page = (folder / "variants.md").read_text(encoding="utf-8")
    assert "under Plain as under Post-LN." in page and "(variants.png)" in page
    assert (folder / "variants.png").read_bytes().startswith(b"\x89PNG")
    assert f"wrote {folder / 'variants.md'}" in " ".join(capsys.readouterr().out.split("\n"))


def test_a_variant_that_did_not_train_to_the_end_is_no_measurement(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stops_early(task: Task) -> Timing:
        planned = task.data.facts.steps_per_epoch
        return timing(1.0, planned - 1 if task.config.model.variant == "plain" else planned)

    config = tiny_run(tmp_path / "cache", stage="tune").config
    monkeypatch.setattr(command, "configuration", lambda options: config)
    monkeypatch.setattr(measuring, "train_with_lightning", stops_early)
    with pytest.raises(SystemExit):
        command.main(["--variants", "[plain,post_ln]", "--rounds", "1", "--results", str(tmp_path)])
    assert "plain diverged after 9 of 10 steps" in capsys.readouterr().err
    assert not (tmp_path / "benchmark").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--variants", "[post_l,plain]"], "did you mean 'post_ln'"),
        (["--variants", "[plain]"], "name another one"),
        (["--variants", "[plain,plain]"], "names plain 2 times"),
        (["--variants", "[]", "--side", "plain"], "leave out --sides, --side, --against and --growth"),
        (["--variants", "[]", "--growth", "[depth]"], "leave out --sides, --side, --against and --growth"),
    ],
)
def test_mistakes_are_told_in_one_line(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        command.main(options)
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and message in error and error.count("\n") == 1
