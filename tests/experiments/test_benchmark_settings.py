"""One row for every setting that was measured: ours beside the fastest other code on the same batches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_runs import tiny_run

from experiments.benchmarking.comparison import Comparison
from experiments.benchmarking.comparison_page import write
from experiments.benchmarking.rounds import Round
from experiments.benchmarking.settings import read_setting, settings_grid, write_settings
from experiments.benchmarking.task import Timing
from experiments.benchmarking.writing import machine
from experiments.errors import ExperimentError

SECONDS = {"hf_trainer": 0.5, "lightning": 1.0, "plain": 0.8, "hf_bert": 2.0, "x_transformers": 3.0}


def measured(folder: Path, layers: int, seconds: dict[str, float]) -> Path:
    """Write seven rounds of so many layers, as the command writes them; BERT slows down by 0.1 s a round."""
    config = tiny_run(folder / "cache", stage="tune").config
    config = replace(config, model=replace(config.model, layers=layers))
    rounds = [
        Round(
            number,
            {
                side: Timing(
                    seconds=time + 0.1 * number * (side == "hf_bert"),
                    rows=40,
                    tokens=1_000,
                    positions=1_250,
                    steps=8,
                    parameters={},
                )
                for side, time in seconds.items()
            },
            {"float32": 1e12, "bfloat16": 2e12},
        )
        for number in range(1, 8)
    ]
    whole = Comparison(list(seconds), config, rounds, 2_000_000, {}, 1024, machine())
    return write(whole, folder)[0]


def test_ours_is_compared_with_the_fastest_other_on_the_same_batches(tmp_path: Path) -> None:
    setting = read_setting(measured(tmp_path, 2, SECONDS))
    assert (setting.layers, setting.reference, setting.fastest_other) == (2, "lightning", "hf_bert")
    assert setting.speedup("hf_bert").median == pytest.approx(2.4, rel=1e-3)  # 2.1 to 2.7 s against 1 s
    assert setting.speedup("hf_trainer").median == pytest.approx(0.5, rel=1e-3)


def test_settings_stand_from_small_to_large_and_those_without_another_side_stay_out(tmp_path: Path) -> None:
    files = [
        measured(tmp_path, 12, SECONDS),
        measured(tmp_path, 2, {side: SECONDS[side] for side in ("lightning", "hf_bert")}),
        measured(tmp_path, 6, {side: SECONDS[side] for side in ("lightning", "plain")}),
    ]
    grid = settings_grid([read_setting(path) for path in files])
    assert [row[0] for row in grid.rows] == ["2", "12"]
    assert grid.rows[0][-3:] == ["2.40 [2.10, 2.70]", "–", "–"]
    assert grid.rows[1][-2].startswith("0.50 ")


def test_the_page_holds_every_table_of_the_folder(tmp_path: Path) -> None:
    measured(tmp_path, 2, SECONDS)
    measured(tmp_path, 12, SECONDS)
    (page,) = write_settings(tmp_path)
    lines = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith(("| 2 |", "| 12 |"))]
    assert len(lines) == 2 and all("| hf_bert |" in line for line in lines)


def test_no_page_is_written_without_a_table_to_show(tmp_path: Path) -> None:
    assert write_settings(tmp_path) == []
    assert not list(tmp_path.glob("*.md"))


@pytest.mark.parametrize("content", ["", "round,side\n1,lightning\n", "round,side,tokens_per_second\none,plain,2\n"])
def test_a_foreign_file_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "sides+other.csv"
    path.write_text(content)
    with pytest.raises(ExperimentError, match=r"sides\+other\.csv is not a table of rounds"):
        write_settings(tmp_path)
