"""Rounds over all sides, the figures they give, and the table that is written."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
import torch
from rich.console import Console
from tiny_runs import tiny_run

from experiments import benchmark as command
from experiments.benchmarking import measure_sides, packages
from experiments.benchmarking.comparison import Comparison
from experiments.benchmarking.comparison_page import page, rounds_grid, title
from experiments.benchmarking.machine_rate import matrix_product_rate
from experiments.benchmarking.memory import peak_memory, peak_memory_of
from experiments.benchmarking.rounds import Round, measured_rounds, order_of
from experiments.benchmarking.sides import SIDES
from experiments.benchmarking.task import Task, Timing
from experiments.benchmarking.writing import machine
from experiments.errors import ExperimentError
from experiments.planning.run_config import RunConfig
from lightning_modules.network.counting import flops_per_token

NAMES = ("lightning", "plain", "hf_bert")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    torch.set_num_threads(1)
    return tiny_run(tmp_path_factory.mktemp("table"), stage="tune").config


def timing(seconds: float) -> Timing:
    return Timing(seconds=seconds, rows=40, tokens=1_000, positions=1_250, steps=8, parameters={})


def comparison(config: RunConfig, names: tuple[str, ...] = NAMES) -> Comparison:
    """Return seven rounds: lightning takes 1 s, plain 0.5 s, BERT 2 to 8 s; the machine's rate grows with the round."""
    rounds = [
        Round(
            number,
            {"lightning": timing(1.0), "plain": timing(0.5), "hf_bert": timing(1.0 + number)},
            {"float32": number * 1e12, "bfloat16": number * 2e12},
        )
        for number in range(1, 8)
    ]
    return Comparison(
        names=names,
        config=config,
        rounds=rounds,
        flops_per_token=2_000_000,
        peak_memory={"plain": 512.0},
        matrix_size=1024,
        machine=machine(),
    )


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_every_side_stands_twice_at_every_position(count: int) -> None:
    names = [f"side_{index}" for index in range(count)]
    orders = [order_of(names, number) for number in range(1, 2 * count + 1)]
    assert orders[0] == names
    for order in orders:
        assert sorted(order) == names
    for position in range(count):
        assert Counter(order[position] for order in orders) == dict.fromkeys(names, 2)


def test_a_round_measures_every_side_once_after_a_warm_up() -> None:
    measured: list[str] = []

    def measure(name: str) -> Timing:
        measured.append(name)
        return timing(float(len(measured)))

    rounds = list(measured_rounds(("a", "b"), measure, lambda: {"float32": len(measured)}, rounds=2))
    assert measured == ["a", "b", "a", "b", "b", "a"]
    assert [list(each.timings) for each in rounds] == [["a", "b"], ["b", "a"]]
    assert [each.machine_rates["float32"] for each in rounds] == [2, 4]
    assert rounds[1].timings["a"].seconds == 6.0


def test_figures_of_a_side_are_medians_and_its_ratio_is_formed_within_rounds(config: RunConfig) -> None:
    fixed = comparison(config)
    assert fixed.reference == "lightning"
    assert (fixed.tokens_per_second("plain"), fixed.rows_per_second("plain")) == (2_000, 80)
    assert fixed.padding("plain") == pytest.approx(0.2)
    assert fixed.speedups("plain") == [0.5] * 7
    assert fixed.speedups("hf_bert") == [2, 3, 4, 5, 6, 7, 8]
    ratio = fixed.speedup("hf_bert")
    assert (ratio.median, ratio.low, ratio.high) == (5, 2, 8)  # of seven values, the extremes: 1 − 2/2⁷
    assert ratio.coverage == pytest.approx(1 - 2 / 128)


def test_utilisation_is_operations_per_second_over_the_machines_rate(config: RunConfig) -> None:
    fixed = comparison(config)
    assert fixed.machine_rate("float32") == 4e12
    assert fixed.utilisation("plain", "float32") == pytest.approx(2_000_000 * 2_000 / 4e12)
    assert fixed.utilisation("plain", "bfloat16") == pytest.approx(fixed.utilisation("plain", "float32") / 2)


def test_without_lightning_the_first_side_is_the_reference(config: RunConfig) -> None:
    fixed = comparison(config, ("plain", "hf_bert"))
    assert fixed.reference == "plain"
    assert fixed.speedups("hf_bert") == [4, 6, 8, 10, 12, 14, 16]


def test_the_page_shows_each_side_and_says_what_was_measured(config: RunConfig) -> None:
    mixed = config.with_values({"trainer.precision": "bf16-mixed"})
    text = page(comparison(mixed))
    row = next(line for line in text.splitlines() if line.startswith("| hf_bert"))
    assert [cell.strip().replace("\\", "") for cell in row.strip("|").split("|")] == [
        "hf_bert", "200", "8", "20.0%", "–", "0.0%", "0.0%", "5.00 [2.00, 8.00]",
    ]  # fmt: skip
    assert "In bf16-mixed: lightning, plain; in 32-true: hf_bert." in text
    assert "1024×1024 matrices at 4000 GFLOP/s in float32 and 8000 GFLOP/s in bfloat16" in text
    assert f"torch {torch.__version__}" in text
    assert title(comparison(mixed)) == "sides+width=16+layers=1+threads=1+precision=bf16-mixed"


def test_the_rows_of_the_csv_repeat_the_fixed_numbers(config: RunConfig) -> None:
    grid = rounds_grid(comparison(config))
    rows = [dict(zip(grid.columns, row, strict=True)) for row in grid.rows]
    assert len(rows) == 7 * len(NAMES) and len(set(grid.columns)) == len(grid.columns)
    last = rows[-1]
    assert (last["round"], last["side"], float(last["lightning_speedup"])) == ("7", "hf_bert", 8.0)
    assert (last["rows"], last["tokens"], last["positions"], last["precision"]) == ("40", "1000", "1250", "32-true")
    assert float(last["machine_bfloat16_gflops"]) == 14_000 and last["peak_memory_mib"] == ""
    assert rows[1]["peak_memory_mib"] == "512.0"


def test_operations_per_token_of_the_epoch_are_the_mean_over_its_tokens(config: RunConfig) -> None:
    """Against counting a row of every length that occurs, each weighed by its tokens."""
    task = Task(config)
    lengths = task.data.encoded.splits["train"].lengths
    network = task.network()
    counts = Counter(lengths.tolist())
    total = sum(rows * length * flops_per_token(network, length) for length, rows in counts.items())
    assert task.flops_per_token() == pytest.approx(total / lengths.sum(), rel=0.02)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_machines_rate_is_the_arithmetic_over_the_time(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that advances half a second at every look, one product is done within the least time of a second."""
    ticks = iter(range(100))
    monkeypatch.setattr("experiments.benchmarking.machine_rate.time.perf_counter", lambda: next(ticks) / 2)
    assert matrix_product_rate(dtype, size=8, seconds=1.0) == pytest.approx(2 * 8**3 / 1.0)


def test_peak_memory_is_read_from_linux_or_else_from_the_c_library(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t  204800 kB\nVmRSS:\t 1024 kB\n")
    assert peak_memory(status) == 200.0
    assert peak_memory(tmp_path / "absent") > 50


def test_the_memory_of_a_side_does_not_count_that_of_the_process_that_asks(config: RunConfig) -> None:
    ballast = torch.ones(200 * 2**20, dtype=torch.float32)  # 800 MiB
    ours = peak_memory()
    del ballast
    assert 100 < peak_memory_of("plain", config) < ours


def test_the_command_prints_and_writes_one_table(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "configuration", lambda options: config)
    sides = "[plain,lightning,torch_encoder]"
    command.main(["--sides", sides, "--rounds", "2", "--memory", "false", "--results", str(tmp_path)])
    path = tmp_path / "benchmark" / "sides+width=16+layers=1+threads=1+precision=32-true.csv"
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["side"] for row in rows] == [
        "plain",
        "lightning",
        "torch_encoder",
        *("torch_encoder", "lightning", "plain"),
    ]
    assert len({row["tokens"] for row in rows}) == 1
    for each in (rows[:3], rows[3:]):
        speeds = {row["side"]: float(row["tokens"]) / float(row["seconds"]) for row in each}
        for row in each:
            ratio = speeds["lightning"] / speeds[row["side"]]
            assert float(row["lightning_speedup"]) == pytest.approx(ratio, rel=1e-3)
        assert float(each[0]["machine_float32_gflops"]) > 0
    assert "| torch_encoder |" in path.with_suffix(".md").read_text()
    printed = capsys.readouterr().out
    assert "round 2 of 2" in printed and f"wrote {path}" in printed


def test_sides_without_their_package_are_left_out_unless_they_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda package: None)
    names = measure_sides.chosen_sides(None, 1, Console())
    assert names == ["lightning", "plain", "torch_encoder", "hf_bert"]
    assert measure_sides.chosen_sides(None, 2, Console()) == ["lightning", "workers", *names[1:]]
    assert "hf_trainer, hf_trainer_fixed, x_transformers; pip install -r requirements-benchmark.txt" in " ".join(
        capsys.readouterr().out.split()
    )
    with pytest.raises(SystemExit):
        command.main(["--sides", "[hf_trainer]"])
    assert "pip install -r requirements-benchmark.txt" in capsys.readouterr().err


def test_sides_that_did_different_work_are_not_compared(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Timing(seconds=1.0, rows=40, tokens=999, positions=1_250, steps=8, parameters={})
    monkeypatch.setitem(SIDES, "plain", lambda task: timing(1.0))
    monkeypatch.setitem(SIDES, "hf_bert", lambda task: other)
    with pytest.raises(ExperimentError, match="plain on 1000, hf_bert on 999"):
        measure_sides.measure_rounds(Task(config), ["plain", "hf_bert"], 1, Console())
