"""Widening: further trials beyond a choice at the edge, the same number for every condition."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from synthetic_records import make_record

from experiments import ablation
from experiments.errors import ExperimentError
from experiments.making.engines import Engine
from experiments.making.grid_runner import Text, run_grid, splitting
from experiments.making.messages import Event, Finished
from experiments.planning.expansion import final_runs, tune_runs
from experiments.planning.grid import Grid
from experiments.planning.runs import Run
from experiments.planning.tuning import Tuning
from experiments.planning.widening import Trial, is_at_edge, next_trial
from experiments.runs.record import Record, Scores
from experiments.runs.run_folder import write_record
from experiments.runs.store import local_records

RATE, GAIN, WARMUP = "model.learning_rate", "model.initialisation_gain", "model.warmup_fraction"
RATES = (3e-4, 1e-3, 3e-3)
LISTED = [{RATE: rate} for rate in RATES]


def anything(trial: Trial) -> bool:
    return True


@pytest.mark.parametrize(("best", "further"), [(3e-3, 9e-3), (3e-4, 9e-5)])
def test_beyond_an_edge_comes_the_value_that_is_off_by_the_ratio_of_the_last_step(best: float, further: float) -> None:
    assert next_trial(LISTED, {RATE: best}, anything) == {RATE: further}


def test_a_choice_inside_is_refined_by_the_geometric_mean_with_the_neighbour_further_off() -> None:
    trials = [{RATE: rate} for rate in (1e-3, 2e-3, 1e-2)]
    assert next_trial(trials, {RATE: 2e-3}, anything) == {RATE: pytest.approx(math.sqrt(2e-3 * 1e-2), rel=0.01)}


def test_only_one_setting_moves_and_one_at_an_edge_before_one_inside() -> None:
    trials = [{RATE: rate, GAIN: gain} for rate in RATES for gain in (0.5, 1.0)]
    assert next_trial(trials, {RATE: 1e-3, GAIN: 1.0}, anything) == {RATE: 1e-3, GAIN: 2.0}
    assert next_trial(trials, {RATE: 3e-3, GAIN: 1.0}, anything) == {RATE: 9e-3, GAIN: 1.0}


def test_what_has_no_value_beyond_has_no_edge() -> None:
    trials = [{WARMUP: warmup, RATE: rate} for warmup in (0.0, 0.1) for rate in RATES]
    assert next_trial(trials, {WARMUP: 0.1, RATE: 3e-3}, anything) == {WARMUP: 0.1, RATE: 9e-3}
    for values in ((0.0, 0.1), (2, 4, 6), (True, False), ("linear", "cosine"), (1e-3,)):
        assert not any(is_at_edge(value, values) for value in values)


def test_a_value_that_the_configuration_refuses_is_passed_over() -> None:
    trials = [{WARMUP: 0.3}, {WARMUP: 0.9}]
    refined = next_trial(trials, {WARMUP: 0.9}, lambda trial: trial[WARMUP] <= 1)
    assert refined == {WARMUP: pytest.approx(math.sqrt(0.3 * 0.9), rel=0.01)}
    with pytest.raises(ExperimentError, match="no further trial"):
        next_trial(trials, {WARMUP: 0.9}, lambda trial: False)


# Rates at least 2.3 % apart: between two that differ in their last digits there is no room for eight more.
RATES_APART = st.lists(st.integers(-600, 100), min_size=2, max_size=5, unique=True)


@given(RATES_APART, st.integers(1, 8), st.randoms())
def test_every_further_trial_is_a_new_one(exponents: list[int], steps: int, random: Any) -> None:
    rates = [10 ** (exponent / 100) for exponent in exponents]
    trials = [{RATE: rate} for rate in rates]
    for _ in range(steps):
        trials.append(next_trial(trials, random.choice(trials), anything))
    assert len({trial[RATE] for trial in trials}) == len(rates) + steps
    assert all(trial[RATE] > 0 for trial in trials)


def test_two_digits_do_not_carry_a_refined_value_past_its_neighbour() -> None:
    lower, upper = 1.01e-3, 1.09e-3  # their mean is 1.049e-3, with two digits 1e-3
    refined = next_trial([{RATE: lower}, {RATE: upper}], {RATE: lower}, lambda trial: trial[RATE] > lower)
    assert refined == {RATE: pytest.approx(math.sqrt(lower * upper), rel=1e-9)}


def test_every_space_must_have_something_to_widen() -> None:
    spaces = {"default": {RATE: [1e-3, 3e-3]}, "plain": {WARMUP: [0.0, 0.1]}}
    assert Tuning.parse({"spaces": spaces, "widen": 0}) is not None
    with pytest.raises(ExperimentError, match="plain has no setting with at least two different numbers above 0"):
        Tuning.parse({"spaces": spaces, "widen": 1})
    with pytest.raises(ExperimentError, match=r"tuning\.widen is -1"):
        Tuning.parse({"spaces": spaces, "widen": -1})


def grid_file(folder: Path, widen: int) -> Path:
    content = {
        "conditions": ["pre_ln", "post_ln"],
        "seeds": 2,
        "tuning": {"widen": widen, "spaces": {"default": {RATE: list(RATES)}}},
        "data": {"corpus": "listops"},
    }
    path = folder / "wide.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def macro_f1(run: Run) -> float:
    """Peak at 2e-2 for one condition, beyond what is listed, and at 1e-3 for the other."""
    best = 2e-2 if run.condition == "pre_ln" else 1e-3
    return 0.9 - abs(math.log10(run.config.model.learning_rate / best)) / 10


class MadeUpRuns(Engine):
    """Makes up records, and is interrupted after ``patience`` runs."""

    def __init__(self, patience: int = 1000) -> None:
        self.patience = patience
        self.made: list[Run] = []

    def make_runs(
        self, runs: Sequence[Run], results: Path, is_made: Callable[[Run], bool]
    ) -> Generator[Event, None, None]:
        for run in runs:
            if len(self.made) == self.patience:
                raise KeyboardInterrupt
            record = make_record("pre_ln", run.seed, run.stage)
            scores = Scores(metrics={"macro_f1": macro_f1(run)})
            self.made.append(run)
            write_record(run.folder(results), replace(record, scores={"validation": scores}, **run.record_fields()))
            yield Event(run, Finished(record.outcome, macro_f1(run)), 0)


@pytest.fixture(autouse=True)
def text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no text be prepared: nothing is trained."""

    def prepared(grid: Grid, console: Console) -> Text:
        return Text("f00d", {splitting(run.config.data): "beef" for run in final_runs(grid)})

    monkeypatch.setattr("experiments.making.grid_runner.prepare_corpus", prepared)


def run_all(path: Path, results: Path, engine: Engine | None = None) -> list[Record]:
    run_grid(Grid.load(str(path)), results, engine or MadeUpRuns(), Console(quiet=True))
    return list(local_records(results / "runs" / "wide" / "listops")[0].values())


def test_a_run_widens_until_the_edge_is_passed_with_equal_budgets(tmp_path: Path) -> None:
    records = run_all(grid_file(tmp_path, widen=3), tmp_path)
    trials = [record for record in records if record.stage == "tune"]
    assert Counter(record.condition for record in trials) == {"pre_ln": 6, "post_ln": 6}
    tried = {
        name: {r.tuned[RATE] for r in trials if r.condition == name} - set(RATES) for name in ("pre_ln", "post_ln")
    }
    assert tried["pre_ln"] == {9e-3, 2.7e-2, 8.1e-2}
    assert all(3e-4 < rate < 3e-3 for rate in tried["post_ln"])
    chosen = {record.condition: record.tuned[RATE] for record in records if record.stage == "final"}
    assert chosen == {"pre_ln": 2.7e-2, "post_ln": 1e-3}


@pytest.mark.parametrize("patience", [1, 4, 7, 11])
def test_an_interrupted_widening_ends_as_an_undisturbed_one(tmp_path: Path, patience: int) -> None:
    path = grid_file(tmp_path, widen=2)
    whole = {record.to_json() for record in run_all(path, tmp_path / "one")}
    with pytest.raises(KeyboardInterrupt):
        run_all(path, tmp_path / "two", MadeUpRuns(patience))
    rest = MadeUpRuns()
    assert {record.to_json() for record in run_all(path, tmp_path / "two", rest)} == whole
    assert len(rest.made) == 14 - patience, "what was made is not made again"


def test_widening_leaves_listed_trials_and_their_hashes_as_they_are(tmp_path: Path) -> None:
    before = run_all(grid_file(tmp_path, widen=0), tmp_path)
    further = MadeUpRuns()
    after = run_all(grid_file(tmp_path, widen=1), tmp_path, further)
    assert {record.to_json() for record in before if record.stage == "tune"} <= {record.to_json() for record in after}
    assert Counter((run.condition, run.stage) for run in further.made) == {
        ("pre_ln", "tune"): 1,
        ("post_ln", "tune"): 1,
        ("pre_ln", "final"): 2,  # a better rate was found; the other condition's final runs stand
    }


def test_plan_and_status_count_the_trials_that_are_not_known_yet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = grid_file(tmp_path, widen=2)
    trials = tune_runs(Grid.load(str(path)))
    assert Counter(run.pending for run in trials) == {False: 6, True: 4}
    assert len({run.name for run in trials}) == 10
    ablation.main(["status", str(path), "--results", str(tmp_path)])
    assert "14 runs:" in capsys.readouterr().out
    run_all(path, tmp_path)
    ablation.main(["status", str(path), "--results", str(tmp_path)])
    assert "14 runs: 14 trained" in capsys.readouterr().out


def test_the_report_marks_further_trials_and_says_why(tmp_path: Path) -> None:
    path = grid_file(tmp_path, widen=1)
    run_all(path, tmp_path)
    ablation.main(["report", str(path), "--results", str(tmp_path)])
    folder = tmp_path / "local" / "wide" / "listops"
    rows = [line.split(",") for line in (folder / "tuning.csv").read_text().splitlines()]
    marked = {(row[0], row[1]): row[-1] for row in rows}
    assert rows[0][-1] == "further"
    assert Counter(marked.values()) == {"further": 1, "yes": 2, "no": 6}
    assert marked["pre_ln", "0.009"] == "yes"
    report = (folder / "report.md").read_text()
    assert "Of these, 1 each go beyond the listed ones" in report
    assert "At the edge of what was tried, so a better value may lie beyond: Pre-LN (`learning_rate=0.009`)." in report
