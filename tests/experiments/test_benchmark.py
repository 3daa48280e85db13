from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_runs import tiny_run

from experiments import benchmark as command
from experiments.benchmarking.pairs import interleaved, median_interval
from experiments.benchmarking.sides import SIDES
from experiments.benchmarking.task import Task, Timing
from experiments.benchmarking.workers import measure_workers, note_finish
from experiments.errors import ExperimentError
from experiments.making.messages import Event, Failed, Finished
from experiments.planning.run_config import RunConfig
from experiments.planning.runs import Run
from experiments.runs.record import Outcome
from lightning_modules.config import ModelConfig


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    return tiny_run(tmp_path_factory.mktemp("benchmark"), stage="tune").config


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_both_our_sides_do_the_same_work_to_the_bit(config: RunConfig, precision: str) -> None:
    """Without dropout, whose draws differ, the sides end with the same weights."""
    task = Task(config.with_values({"model.dropout": 0.0, "trainer.precision": precision}))
    untrained = {name: value.detach().clone() for name, value in task.network().named_parameters()}
    timings = {name: SIDES[name](task) for name in ("lightning", "plain")}
    plain = timings["plain"]
    assert plain.steps == task.data.facts.steps_per_epoch
    assert plain.tokens == int(task.data.encoded.splits["train"].lengths.sum())
    assert not torch.equal(plain.parameters["head.weight"], untrained["head.weight"])
    for name, timing in timings.items():
        assert (timing.steps, timing.rows, timing.tokens, timing.positions) == (
            plain.steps,
            len(task.data.encoded.splits["train"]),
            plain.tokens,
            plain.positions,
        ), name
        assert timing.seconds > 0
        for parameter, value in plain.parameters.items():
            assert torch.equal(timing.parameters[parameter], value), (name, parameter)


def test_the_plain_loop_refuses_a_precision_that_it_does_not_have(config: RunConfig) -> None:
    with pytest.raises(ExperimentError, match="32-true or bf16-mixed, not in 16-mixed"):
        SIDES["plain"](Task(config.with_values({"trainer.precision": "16-mixed"})))


def test_pairs_alternate_after_a_warm_up_of_both() -> None:
    measured: list[str] = []

    def measure(name: str) -> Timing:
        measured.append(name)
        return Timing(seconds=float(len(measured)), rows=2, tokens=10, positions=16, steps=1, parameters={})

    pairs = list(interleaved(("a", "b"), measure, pairs=3))
    assert measured == ["a", "b", "a", "b", "b", "a", "a", "b"]
    assert [pair.first for pair in pairs] == ["a", "b", "a"]
    assert [pair.seconds for pair in pairs] == [(3.0, 4.0), (6.0, 5.0), (7.0, 8.0)]
    assert pairs[1].ratio == 6 / 5


@pytest.mark.parametrize("count", [6, 9, 10, 25])
def test_the_interval_of_the_median_has_the_coverage_that_it_states(count: int) -> None:
    """Count over all ways in which values can lie below or above the median, or, for many values, draw them."""
    interval = median_interval([float(value) for value in range(count)])
    k = int(interval.low) + 1
    if count <= 10:
        below = [sum(signs) for signs in itertools.product((0, 1), repeat=count)]
        covered = np.mean([k <= number <= count - k for number in below])
        assert interval.coverage == pytest.approx(covered)
    else:
        draws = np.sort(np.random.default_rng(0).exponential(size=(20_000, count)), axis=1)
        covered = np.mean((draws[:, k - 1] <= np.log(2)) & (np.log(2) <= draws[:, -k]))
        assert interval.coverage == pytest.approx(covered, abs=0.01)
    assert interval.coverage >= 0.95


def test_the_interval_of_ten_pairs_leaves_out_the_extremes_and_that_of_five_says_it_is_weak() -> None:
    ten = median_interval([5.0, 1.0, 9.0, 2.0, 8.0, 3.0, 7.0, 4.0, 6.0, 10.0])
    assert (ten.low, ten.median, ten.high) == (2.0, 5.5, 9.0)
    assert ten.coverage == pytest.approx(1 - 22 / 1024)
    five = median_interval([5.0, 1.0, 4.0, 2.0, 3.0])
    assert (five.low, five.high) == (1.0, 5.0) and five.coverage == pytest.approx(1 - 2 / 32)
    assert median_interval([1.5]).coverage == 0


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=30))
def test_the_interval_encloses_the_median_whatever_the_order(values: list[float]) -> None:
    interval = median_interval(values)
    assert interval.low <= interval.median <= interval.high
    assert interval == median_interval(values[::-1])


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

    monkeypatch.setattr("experiments.benchmarking.workers.make_runs", pool)
    monkeypatch.setattr("experiments.benchmarking.workers.time.perf_counter", lambda: clock.now)
    rates = list(measure_workers(config, workers=2, rounds=2, runs_each=3))
    assert [(rate.alone, rate.together, rate.ratio) for rate in rates] == [(1800, 2700, 1.5)] * 2


def test_a_run_that_fails_stops_the_benchmark(config: RunConfig) -> None:
    with pytest.raises(ExperimentError, match="no space"):
        note_finish(Event(tiny_run(Path("cache")), Failed("no space", mistake=True), 0), {})


def test_the_command_prints_and_writes_pairs_and_page(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "configuration", lambda options: config)
    command.main(["--side", "lightning", "--pairs", "2", "--workers", "0", "--results", str(tmp_path)])
    folder = tmp_path / "benchmark"
    with (folder / "lightning_overhead.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["first"] for row in rows] == ["lightning", "plain"]
    for row in rows:
        assert float(row["ratio"]) == pytest.approx(
            float(row["lightning_seconds"]) / float(row["plain_seconds"]), rel=1e-3
        )
        assert row["cpu"] and row["torch"] == torch.__version__ and row["date"]
    page = (folder / "lightning_overhead.md").read_text()
    middle = np.median([float(row["ratio"]) for row in rows])
    assert f"takes {middle:.3f} times what plain takes" in page and "tokens per second" in page
    assert page.splitlines()[2] in capsys.readouterr().out
    assert not (folder / "workers.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--pairs", "0"], "--pairs is 0"),
        (["--side", "plain"], "two different sides"),
        (["--side", "lightening"], "did you mean 'lightning'"),
        (["--side", "plain", "--sides", "[plain]"], "one or the other"),
        (["--pair", "3"], "--pairs"),
        (["--rounds", "0"], "--rounds is 0"),
        (["--sides", "[lightning,torch_encode]"], "did you mean 'torch_encoder'"),
        (["--sides", "[plain,lightning,plain]"], "names plain 2 times"),
        (["--sides", "[]"], "--sides is empty"),
        (["--width", "66"], "heads"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        command.main(arguments)
    message = capsys.readouterr().err
    assert stopped.value.code == 2 and message.count("\n") == 1 and words in message


def test_the_task_is_as_long_as_it_says() -> None:
    config = command.configuration(command.parse(["--steps", "60"]))
    assert config.data.max_train_rows == 60 * config.data.batch_size
    assert (config.model, config.threads) == (ModelConfig(variant="pre_ln", layers=6, width=64), 1)


def test_the_task_has_the_size_threads_and_precision_that_were_asked_for() -> None:
    options = command.parse(["--width", "128", "--layers", "12", "--threads", "2", "--precision", "bf16-mixed"])
    config = command.configuration(options)
    assert config.model == ModelConfig(variant="pre_ln", layers=12, width=128)
    assert (config.threads, config.trainer.precision) == (2, "bf16-mixed")
