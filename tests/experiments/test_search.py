"""The search for tuned values: pilot, listed trials, extension, confirmation, and what a longer budget carries over."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from synthetic_records import make_record

from experiments.errors import ExperimentError
from experiments.planning.choices import with_choices
from experiments.planning.expansion import final_runs, tune_runs
from experiments.planning.grid import Grid
from experiments.planning.runs import Run
from experiments.planning.search import search
from experiments.planning.tuning import FIRST_TUNING_SEED
from experiments.runs.record import Outcome, Record, Scores

RATE, STD, EPOCHS = "model.learning_rate", "model.embedding_std", "trainer.max_epochs"
LADDER = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]
PROTOCOL = {"pilot": {RATE: LADDER}, "around": [1, 0.5], "spaces": {"default": {STD: [0.02, 0.2]}}}
ScoreOf = Callable[[Run], float | None]


def load(folder: Path, tuning: Mapping[str, Any], **content: Any) -> Grid:
    path = folder / "searched.yaml"
    grid = {"conditions": ["pre_ln"], "seeds": 2, "tuning": tuning, "data": {"corpus": "listops"}}
    path.write_text(yaml.safe_dump({**grid, **content}), encoding="utf-8")
    return Grid.load(str(path))


def recorded(run: Run, score: float | None) -> Record:
    record = make_record("pre_ln", run.seed, run.stage)
    record = replace(record, scores={"validation": Scores(metrics={"macro_f1": score})}, **run.record_fields())
    return record if score else replace(record, outcome=Outcome(status="collapsed", step=1, reason="made up"))


def tune(grid: Grid, score: ScoreOf) -> list[Record]:
    """All trials of a grid, made up round by round as `run` makes them."""
    records: list[Record] = []
    while new := [run for run in tune_runs(grid, records) if not run.pending and run.name not in names(records)]:
        records += [recorded(run, score(run)) for run in new]
    assert not [run for run in tune_runs(grid, records) if run.pending]
    return records


def other_grid(folder: Path, monkeypatch: pytest.MonkeyPatch, **content: Any) -> Grid:
    """A grid `searched` in a folder of shipped grids, whose trials are recorded as if they were committed."""
    grid = load(folder, PROTOCOL, conditions=["pre_ln", "plain"], sweep={EPOCHS: [2, 8]}, **content)
    records = tune(grid, peak(3e-3))
    for module in ("conditions", "grid"):
        monkeypatch.setattr(f"experiments.planning.{module}.GRIDS", folder)
    found = {"records": records}
    monkeypatch.setattr("experiments.planning.choices.FinishedRuns.records", lambda finished: found["records"])
    return grid


def chooser(folder: Path, entry: Mapping[str, Any], tuning: Mapping[str, Any] | None = None, **content: Any) -> Grid:
    """A grid with one condition whose values another one chose."""
    path = folder / "chooser.yaml"
    usual: dict[str, Any] = {"seeds": 1, "data": {"corpus": "listops"}, "trainer": {"max_epochs": 8}}
    conditions = [{"name": "second", "variant": "pre_ln", **entry}]
    grid = {**usual, "conditions": conditions, **({"tuning": dict(tuning)} if tuning else {}), **content}
    path.write_text(yaml.safe_dump(grid), encoding="utf-8")
    return Grid.load(str(path))


def names(records: list[Record]) -> set[str]:
    return {f"{r.condition}/{cell_of(r)}/seed_{r.seed}" for r in records}


def cell_of(record: Record) -> str:
    from experiments.runs.naming import cell_name

    return cell_name(record.swept, record.tuned, "tune")


def peak(at: float, std: float = 0.2) -> ScoreOf:
    """A score that is best at one rate and one start of the embeddings."""

    def score(run: Run) -> float:
        off = abs(math.log10(run.config.model.learning_rate / at))
        return 0.9 - off / 5 - 0.1 * (run.config.model.embedding_std != std)

    return score


def test_the_pilot_centres_the_listed_trials_at_its_best(tmp_path: Path) -> None:
    records = tune(load(tmp_path, PROTOCOL), peak(3e-3))
    pilot, listed = records[:5], records[5:]
    assert [r.tuned for r in pilot] == [{RATE: rate, STD: 0.02} for rate in LADDER]
    assert [r.tuned for r in listed] == [{RATE: 3e-3, STD: 0.2}, {RATE: 1.5e-3, STD: 0.02}, {RATE: 1.5e-3, STD: 0.2}]


def test_final_runs_take_the_best_of_all_trials_and_wait_for_them(tmp_path: Path) -> None:
    grid = load(tmp_path, PROTOCOL)
    records = tune(grid, peak(3e-3))
    assert [run.tuned for run in final_runs(grid, records)] == [{RATE: 3e-3, STD: 0.2}] * 2
    assert all(run.pending for run in final_runs(grid, records[:-1]))


def test_the_plan_counts_what_may_come_at_most(tmp_path: Path) -> None:
    grid = load(tmp_path, {**PROTOCOL, "extend": 2, "confirm": {"top": 3, "seeds": 2}})
    runs = tune_runs(grid)
    assert Counter(run.pending for run in runs) == {False: 5, True: 3 + 2 + 6}
    assert len({run.name for run in runs}) == len(runs)


def test_a_condition_whose_trials_mostly_fail_gets_more_and_one_whose_trials_do_not_gets_none(tmp_path: Path) -> None:
    def fragile(run: Run) -> float | None:
        if run.condition == "pre_ln":
            return 0.8
        return 0.8 if run.config.model.learning_rate < 4e-4 else None

    tuning = {"spaces": {"default": {RATE: LADDER}}, "extend": 3}
    records = tune(load(tmp_path, tuning, conditions=["pre_ln", "plain"]), fragile)
    assert Counter(record.condition for record in records) == {"pre_ln": 5, "plain": 6}


@pytest.mark.parametrize(("most", "made"), [(1, 1), (2, 2), (9, 9)])
def test_an_extension_ends_at_its_most(tmp_path: Path, most: int, made: int) -> None:
    tuning = {"spaces": {"default": {RATE: [1e-3, 3e-3]}}, "extend": most}
    records = tune(load(tmp_path, tuning), lambda run: None)
    assert len(records) == 2 + made


def test_further_seeds_decide_among_the_best_three_alone(tmp_path: Path) -> None:
    lucky = {1e-2: 0.9, 1e-3: 0.85, 3e-4: 0.84, 3e-3: 0.5, 1e-4: 0.1}

    def score(run: Run) -> float:
        rate = run.config.model.learning_rate
        return lucky[rate] if run.seed == FIRST_TUNING_SEED else {1e-2: 0.2, 1e-3: 0.83}.get(rate, 0.8)

    grid = load(tmp_path, {"spaces": {"default": {RATE: LADDER}}, "confirm": {"top": 3, "seeds": 2}})
    records = tune(grid, score)
    again = [record for record in records if record.seed != FIRST_TUNING_SEED]
    assert Counter(record.tuned[RATE] for record in again) == {1e-2: 2, 1e-3: 2, 3e-4: 2}
    found = search(grid, grid.conditions[0], records)
    assert [trial[RATE] for trial in found.ranked] == [1e-3, 3e-4, 1e-2, 3e-3, 1e-4]
    assert found.choice == {RATE: 1e-3}


def test_a_longer_budget_tries_the_best_of_the_shorter_one_and_chooses_for_itself(tmp_path: Path) -> None:
    def score(run: Run) -> float:
        return peak(1e-3 if run.config.trainer.max_epochs == 2 else 3e-4)(run)

    tuning = {"spaces": {"default": {RATE: LADDER}}, "carry": {EPOCHS: 2}}
    grid = load(tmp_path, tuning, sweep={EPOCHS: [2, 8]})
    assert Counter((run.swept[EPOCHS], run.pending) for run in tune_runs(grid)) == {(2, False): 5, (8, True): 2}
    records = tune(grid, score)
    tried = {record.tuned[RATE] for record in records if record.swept[EPOCHS] == 8}
    assert tried == {1e-3, 3e-3} or tried == {1e-3, 3e-4}
    chosen = {run.swept[EPOCHS]: run.tuned[RATE] for run in final_runs(grid, records)}
    assert chosen[2] == 1e-3 and chosen[8] in tried


def test_equal_records_give_equal_trials_in_whatever_order_they_come(tmp_path: Path) -> None:
    grid = load(tmp_path, {**PROTOCOL, "extend": 2, "confirm": {"top": 2, "seeds": 1}})
    records = tune(grid, peak(1e-4))
    assert search(grid, grid.conditions[0], records) == search(grid, grid.conditions[0], records[::-1])


@pytest.mark.parametrize(
    ("tuning", "message"),
    [
        ({"pilot": {RATE: [1e-3]}}, "needs at least two different numbers"),
        ({"pilot": {RATE: LADDER, STD: [0.1, 1.0]}}, "takes one setting"),
        ({"around": [1], "spaces": {"default": {RATE: LADDER}}}, r"around is there without tuning\.pilot"),
        ({**PROTOCOL, "around": [0]}, "needs numbers above 0"),
        ({**PROTOCOL, "spaces": {"default": {RATE: LADDER}}}, "which the pilot centres"),
        ({**PROTOCOL, "confirm": {"top": 3}}, r"tuning\.confirm\.seeds is None"),
        ({**PROTOCOL, "confirm": {"best": 3}}, "'best' is not known"),
        ({**PROTOCOL, "carry": {EPOCHS: 3}}, "'trainer.max_epochs' is not known"),
        ({**PROTOCOL, "extend": -1}, r"tuning\.extend is -1"),
    ],
)
def test_a_protocol_that_makes_no_sense_is_refused(tmp_path: Path, tuning: dict[str, Any], message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        load(tmp_path, tuning)


def test_a_part_of_a_grid_keeps_its_name_and_leaves_the_report_whole(tmp_path: Path) -> None:
    whole = load(tmp_path, {"spaces": {"default": {RATE: LADDER}}}, sweep={"model.layers": [1, 2]})
    part = Grid.load(str(tmp_path / "searched.yaml"), cells={"model.layers": 2})
    assert part.name == whole.name and part.all_conditions == whole.all_conditions
    assert [condition.swept for condition in part.conditions] == [{"model.layers": 2}]
    with pytest.raises(ExperimentError, match="the grid sweeps 1, 2"):
        Grid.load(str(tmp_path / "searched.yaml"), cells={"model.layers": 3})
    with pytest.raises(ExperimentError, match=r"'model\.widht' is not known"):
        Grid.load(str(tmp_path / "searched.yaml"), cells={"model.widht": 3})


def test_a_grid_states_the_difference_that_matters_and_else_its_task_does(tmp_path: Path) -> None:
    tuning = {"spaces": {"default": {RATE: LADDER}}}
    assert load(tmp_path, tuning).delta == 0.01
    assert load(tmp_path, tuning, delta=0.05).delta == 0.05
    for wrong in (0, -1, "much", True):
        with pytest.raises(ExperimentError, match=r"delta is .*; it must be a number above 0"):
            load(tmp_path, tuning, delta=wrong)


# Values that another grid chose.


def test_the_second_best_values_of_another_grid_are_run_with_its_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = other_grid(tmp_path, monkeypatch)
    cell = next(each for each in other.conditions if (each.name, each.swept[EPOCHS]) == ("pre_ln", 8))
    ranked = search(other, cell, tune(other, peak(3e-3))).ranked
    for rank in (1, 2):
        grid = chooser(tmp_path, {"chosen_in": {"grid": "searched", "rank": rank}})
        (waiting,) = final_runs(grid)
        assert waiting.pending
        (run,) = final_runs(with_choices(grid, tmp_path))
        assert (run.pending, run.tuned) == (False, ranked[rank - 1])
        assert run.config.model == cell.config.with_values(ranked[rank - 1]).model
    assert ranked[0] == {RATE: 3e-3, STD: 0.2} != ranked[1]


def test_a_condition_tunes_further_settings_on_top_of_values_that_another_grid_chose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_grid(tmp_path, monkeypatch)
    tuning = {"spaces": {"default": {"model.dropout": [0.1, 0.3]}}}
    grid = chooser(tmp_path, {"chosen_in": {"grid": "searched"}}, tuning)
    assert [run.pending for run in tune_runs(grid)] == [True, True]
    known = with_choices(grid, tmp_path)
    runs = tune_runs(known)
    assert [(run.pending, run.tuned) for run in runs] == [(False, {"model.dropout": each}) for each in (0.1, 0.3)]
    assert {(run.config.model.learning_rate, run.config.model.embedding_std) for run in runs} == {(3e-3, 0.2)}
    (final,) = final_runs(known, tune(known, lambda run: run.config.model.dropout))
    assert (final.config.model.dropout, final.config.model.learning_rate) == (0.3, 3e-3)


def test_runs_wait_while_the_other_grids_trials_are_not_all_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_grid(tmp_path, monkeypatch)
    grid = chooser(tmp_path, {"chosen_in": {"grid": "searched"}})
    monkeypatch.setattr("experiments.planning.choices.FinishedRuns.records", lambda finished: [])
    assert [run.pending for run in final_runs(with_choices(grid, tmp_path))] == [True]


@pytest.mark.parametrize(
    ("choice", "content", "message"),
    [
        ({"grid": "serched"}, {}, "searched"),
        ({"grid": "searched", "rank": 0}, {}, r"chosen_in\.rank is 0"),
        ({"grid": "searched", "rnk": 2}, {}, "rank"),
        ({"grid": "searched", "rank": 99}, {}, r"rank is 99, and the grid searched tried \d+ values"),
        ({"grid": "searched", "condition": "post_ln"}, {}, "tunes no condition 'post_ln'; it tunes pre_ln, plain"),
        ({"grid": "searched"}, {"trainer": {"max_epochs": 4}}, "mean nothing here; it has trainer.max_epochs 2"),
    ],
)
def test_a_choice_that_is_not_there_is_refused(
    choice: dict[str, Any], content: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_grid(tmp_path, monkeypatch)
    with pytest.raises(ExperimentError, match=message):
        with_choices(chooser(tmp_path, {"chosen_in": choice}, **content), tmp_path)
