"""An answer for somebody's corpus: the plan that a time allows, what is refused, and the page."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from synthetic_records import make_record

from experiments import ablation, answering
from experiments.errors import ExperimentError
from experiments.making.affordable import (
    LEAST_STEPS,
    LEVELS,
    MOST_SEEDS,
    RICHEST,
    Effort,
    affordable_plan,
    grid_content,
    seconds_of,
    too_small,
    wanted_steps,
)
from experiments.making.engines import Engine
from experiments.making.grid_runner import Text, splitting
from experiments.making.messages import Event, Finished
from experiments.making.pricing import PriceList
from experiments.planning.expansion import final_runs, tune_runs
from experiments.planning.grid import Grid
from experiments.planning.runs import Run
from experiments.planning.yaml_files import write_yaml
from experiments.runs.run_folder import write_record


def runs_of(level: Effort) -> int:
    return len(level.blocks) * (len(level.rates) + len(level.starts) - 1 + level.seeds * sum(level.budgets))


def priced(level: Effort, steps: int) -> float:
    """A second of start and a hundredth of a second a step for every run."""
    return runs_of(level) * (1 + 0.01 * steps)


@pytest.mark.parametrize("steps", [200, 500])
@pytest.mark.parametrize("level", LEVELS[1:])
def test_the_richest_level_that_reaches_the_wanted_steps_is_taken(level: Effort, steps: int) -> None:
    chosen = affordable_plan(priced(level, steps) + 1e-6, steps, priced)
    assert (chosen.level, chosen.steps) == (level, steps)
    assert chosen.seconds == priced(level, steps)


def test_a_plan_costs_no_more_than_the_time_and_more_time_is_never_a_poorer_plan() -> None:
    places = []
    for seconds in (200, 400, 800, 1600, 3200, 6400, 12800):
        chosen = affordable_plan(seconds, 500, priced)
        assert chosen.seconds <= seconds
        places.append(-len(LEVELS) if chosen.level not in LEVELS else LEVELS.index(chosen.level))
    assert places == sorted(places, reverse=True)


def test_what_the_richest_level_leaves_goes_to_seeds_up_to_ten() -> None:
    some = affordable_plan(priced(replace(RICHEST, seeds=7), 200) + 1, 200, priced)
    assert some.level == replace(RICHEST, seeds=7)
    assert affordable_plan(1e9, 200, priced).level.seeds == MOST_SEEDS


def test_too_little_time_is_refused_with_what_would_be_enough() -> None:
    with pytest.raises(ExperimentError, match=r"the smallest plan, 100 steps of 5 blocks, takes 60 s of one core"):
        affordable_plan(20, 500, priced)
    assert affordable_plan(priced(LEVELS[-1], LEAST_STEPS) + 1e-6, 500, priced).steps == LEAST_STEPS


@pytest.mark.parametrize(("epoch", "steps"), [(1, 200), (125, 500), (5000, 2000)])
def test_four_epochs_are_wanted_between_200_and_2000_steps(epoch: int, steps: int) -> None:
    assert wanted_steps(epoch) == steps


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("30m", 1800), ("1.5h", 5400), (" 2h ", 7200)])
def test_times_are_read(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "m", "-3m", "0s", "1e9h", "9999999h", "30 minutes", "1m" * 40])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(ExperimentError, match="must be a time such as 90s, 30m or 2h"):
        seconds_of(text)


def test_a_corpus_that_is_too_small_is_named_with_what_would_be_enough() -> None:
    assert too_small({"train": 100, "validation": 30, "test": 30}, 2) is None
    assert "7 train rows of 2 classes; an answer needs at least 100" in str(too_small({"train": 7}, 2))
    assert "29 test rows" in str(too_small({"train": 500, "validation": 99, "test": 29}, 2))
    assert "has 1 class; an answer needs at least 2" in str(too_small({"train": 500}, 1))


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_is_a_grid_that_loads(level: Effort, tmp_path: Path) -> None:
    path = tmp_path / "answer_1h.yaml"
    write_yaml(path, grid_content(level, 300, 130, "32-true"))
    grid = Grid.load(str(path))
    finals = [run for run in final_runs(grid) if run.condition in level.blocks]
    assert len(finals) == len(level.blocks) * len(level.budgets) * level.seeds
    assert {run.config.trainer.max_steps for run in finals} == {300 * times for times in level.budgets}
    assert all(run.stage == "tune" for run in tune_runs(grid))


class MadeUpRuns(Engine):
    """Makes up records in which Pre-LN leads and blocks without skips come last; stops after ``patience`` runs."""

    def __init__(self, patience: int = 10_000) -> None:
        self.patience = patience
        self.made = 0

    def make_runs(
        self, runs: Sequence[Run], results: Path, is_made: Callable[[Run], bool]
    ) -> Generator[Event, None, None]:
        for run in runs:
            if self.made == self.patience:
                raise KeyboardInterrupt
            self.made += 1
            skill = "plain_gain" if run.condition == "no_residual" else run.condition
            record = replace(make_record(skill, run.seed, run.stage), **run.record_fields())
            write_record(run.folder(results), record)
            yield Event(run, Finished(record.outcome, None), 0)


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A thousand steps cost a second, and no text is prepared."""

    def price(self: PriceList, run: Run) -> SimpleNamespace:
        return SimpleNamespace(seconds=(run.config.trainer.max_steps or 0) / 1000)

    monkeypatch.setattr(PriceList, "of", price)

    splits = {"train": range(8000), "validation": range(900), "test": range(900)}
    corpus = SimpleNamespace(splits=splits, class_names=("a", "b"))
    text = SimpleNamespace(corpus=corpus, facts=SimpleNamespace(steps_per_epoch=125))
    monkeypatch.setattr(PriceList, "text_of", lambda self, config: text)
    monkeypatch.setattr(answering, "choose_precision", lambda config: SimpleNamespace(value="32-true"))
    monkeypatch.setattr(
        "experiments.making.grid_runner.prepare_corpus",
        lambda grid, console: Text("f00d", {splitting(run.config.data): "beef" for run in final_runs(grid)}),
    )
    return tmp_path


def ask(results: Path, engine: Engine, budget: str = "30m") -> str:
    overrides = {"data": {"corpus": "listops"}}
    return answering.answer(budget, overrides, results, engine, 2, Console(quiet=True)).read_text(encoding="utf-8")


def test_an_answer_names_the_block_and_what_is_lost_without_each_part(planned: Path) -> None:
    page = ask(planned, MadeUpRuns())
    assert "# Which block for listops?" in page
    assert "**Pre-LN** does best on validation after 2,000 steps" in page
    assert "| skips, with norms after the sum | Post-LN → No residual | −0." in page
    assert page.count("the part helps") >= 6
    assert "Behind it: " in page and "Plain. Each scores less" in page
    assert "Each block had" in page and "The article's table: Pre-LN after 2,000 steps" in page


def test_an_interrupted_answer_goes_on_with_its_plan_and_ends_alike(planned: Path) -> None:
    whole = ask(planned / "one", MadeUpRuns())
    total = MadeUpRuns()
    with pytest.raises(KeyboardInterrupt):
        ask(planned / "two", total := MadeUpRuns(40))
    rest = MadeUpRuns()
    assert ask(planned / "two", rest) == whole
    assert total.made + rest.made == len(list((planned / "one").glob("runs/*/*/*/*/*/run.json")))


def test_another_time_is_another_plan_in_a_folder_of_its_own(planned: Path) -> None:
    ask(planned, MadeUpRuns(), "30m")
    ask(planned, MadeUpRuns(), "1h")
    assert sorted(path.parts[-3] for path in planned.glob("local/*/*/answer.md")) == ["answer_1h", "answer_30m"]


def test_a_later_report_leaves_the_page_alone(planned: Path) -> None:
    ask(planned, MadeUpRuns())
    plan = next(planned.glob("runs/*/*/*.yaml"))
    ablation.main(["report", str(plan), "--data.corpus", "listops", "--results", str(planned)])
    assert next(planned.glob("local/*/*/answer.md")).is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["answer", "quick"], "takes no GRID"),
        (["answer", "--seeds", "3"], "takes no --seeds"),
        (["answer", "--budget", "soon"], "must be a time such as"),
        (["run"], "`run` needs a GRID"),
        (["run", "quick", "--budget", "1h"], "--budget is the time of `answer`"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        ablation.main([*arguments, "--results", str(tmp_path)])
    assert message in capsys.readouterr().err


def test_the_ending_of_a_file_of_rows_names_its_format(planned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(answering, "answer", lambda budget, overrides, *more, **options: asked.append(overrides))
    for file in ("mine.CSV", "mine.jsonl.gz"):
        ablation.main(["answer", "--data.train_file", file, "--results", str(planned)])
    assert asked == [
        {"data": {"corpus": "csv", "train_file": "mine.CSV"}},
        {"data": {"corpus": "jsonl", "train_file": "mine.jsonl.gz"}},
    ]
