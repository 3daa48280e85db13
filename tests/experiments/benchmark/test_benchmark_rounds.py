"""Rounds measure everything in changing order; the machine's rate and the runs per hour are what they say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console
from tiny_runs import tiny_run

from experiments.benchmark import __main__ as command
from experiments.benchmark import measure, sides
from experiments.benchmark.measure import measure_pool, side_rounds
from experiments.benchmark.rounds import matrix_product_rate, measured_rounds, note_finish, order_of, seconds_of_runs
from experiments.benchmark.sides import SIDES
from experiments.benchmark.task import BenchmarkTask, SideTiming
from experiments.errors import ExperimentError
from experiments.making.messages import Event, Failed, Finished
from experiments.planning.run_config import RunConfig
from experiments.planning.runs import Run
from experiments.runs.record import Outcome
from lightning_modules.network.counting import flops_per_token


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    torch.set_num_threads(1)
    return tiny_run(tmp_path_factory.mktemp("rounds"), stage="tune").config


def timing(seconds: float) -> SideTiming:
    return SideTiming(seconds=seconds, rows=40, tokens=1_000, positions=1_250, steps=8, parameters={})


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

    def measuring(name: str) -> SideTiming:
        measured.append(name)
        return timing(float(len(measured)))

    rounds = list(measured_rounds(("a", "b"), measuring, 2, measure_machine=lambda: {"float32": float(len(measured))}))
    assert measured == ["a", "b", "a", "b", "b", "a"]
    assert [list(each.measured) for each in rounds] == [["a", "b"], ["b", "a"]]
    assert [each.machine_rates["float32"] for each in rounds] == [2, 4]
    assert rounds[1].measured["a"].seconds == 6.0


def test_pairs_alternate_and_give_both_sides_every_place_equally_often() -> None:
    first = [order_of(("a", "b"), number)[0] for number in range(1, 9)]
    assert first == ["a", "b", "b", "a"] * 2  # so that neither drift nor warmth favours one


def test_operations_per_token_of_the_epoch_are_the_mean_over_its_tokens(config: RunConfig) -> None:
    """Against counting a row of every length that occurs, each weighed by its tokens."""
    task = BenchmarkTask(config)
    lengths = task.data.encoded.splits["train"].lengths
    network = task.network()
    counts = Counter(lengths.tolist())
    total = sum(rows * length * flops_per_token(network, length) for length, rows in counts.items())
    assert task.flops_per_token() == pytest.approx(total / lengths.sum(), rel=0.02)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_machines_rate_is_the_arithmetic_over_the_time(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that advances half a second at every look, one product is done within the least time of a second."""
    ticks = iter(range(100))
    monkeypatch.setattr("experiments.benchmark.rounds.time.perf_counter", lambda: next(ticks) / 2)
    assert matrix_product_rate(dtype, size=8, seconds=1.0) == pytest.approx(2 * 8**3 / 1.0)


def test_sides_without_their_package_are_left_out_unless_they_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sides, "find_spec", lambda package: None)
    names = measure.chosen_sides(None, "classification", Console())
    assert names == ["lightning", "plain", "torch_encoder", "hf_bert", "hf_bert_eager"]
    assert measure.chosen_sides(None, "causal_lm", Console(quiet=True)) == [
        *("lightning", "plain", "hf_gpt2", "hf_gpt2_eager")
    ]
    assert (
        "x_transformers, x_transformers_eager, hf_trainer, hf_trainer_fixed, hf_trainer_tuned; pip install -r "
        in " ".join(capsys.readouterr().out.split())
    )
    with pytest.raises(SystemExit):
        command.main(["--sides", "[hf_trainer]"])
    assert "pip install -r requirements-benchmark.txt" in capsys.readouterr().err


def test_sides_that_did_different_work_are_not_compared(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    other = SideTiming(seconds=1.0, rows=40, tokens=999, positions=1_250, steps=8, parameters={})
    monkeypatch.setitem(SIDES, "plain", lambda task: timing(1.0))
    monkeypatch.setitem(SIDES, "hf_bert", lambda task: other)
    with pytest.raises(ExperimentError, match="plain on 1000, hf_bert on 999"):
        list(side_rounds(BenchmarkTask(config), ["plain", "hf_bert"], 1, Console()))


def test_runs_per_hour_add_up_over_workers(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a pool whose workers take 2 s and 4 s a run, two workers make 1800 + 900 runs an hour, one makes 1800."""
    clock = SimpleNamespace(now=0.0)

    def pool(runs: list[Run], results: Path, workers: int) -> Iterator[Event]:
        outcome = Finished(Outcome(status="trained", step=1), None)
        ends = [
            (5 + index // workers * (2.0, 4.0)[index % workers], Event(run, outcome, index % workers))
            for index, run in enumerate(runs)
        ]
        for clock.now, event in sorted(ends, key=lambda pair: pair[0]):
            yield event

    monkeypatch.setattr("experiments.benchmark.rounds.make_runs", pool)
    monkeypatch.setattr("experiments.benchmark.rounds.time.perf_counter", lambda: clock.now)
    options = command.parse(["--workers", "2", "--worker_rounds", "2", "--runs_each", "3"])
    rows = measure_pool(config, options, 10, {}, Console(quiet=True))
    assert [(row["round"], row["value"], row["runs_per_hour"], row["steps"]) for row in rows] == [
        *(("1", "1", "1800.0", "10"), ("1", "2", "2700.0", "10")),
        *(("2", "2", "2700.0", "10"), ("2", "1", "1800.0", "10")),
    ]
    assert seconds_of_runs(config, 3) == 6.0


def test_a_run_that_fails_stops_the_benchmark() -> None:
    with pytest.raises(ExperimentError, match="no space"):
        note_finish(Event(tiny_run(Path("cache")), Failed("no space", mistake=True), 0), {})
