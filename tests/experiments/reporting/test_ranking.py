"""The ranking of schemes on synthetic records: groups, failures apart, table, page and figure."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from synthetic_records import make_record, write_run

from experiments import ablation
from experiments.errors import ExperimentError
from experiments.planning.grid import Grid
from experiments.reporting import ranking as module
from experiments.reporting.ranking import compose, draw, exact_table, rank
from experiments.reporting.render import to_csv
from experiments.runs.record import Outcome, Record, Scores

LOSSES = {"pre_ln": 4.0, "mhc": 3.7, "rms_norm": 4.01, "post_ln": 4.5}


def record(scheme: str, seed: int, loss: float, status: str = "trained", stage: str = "final") -> Record:
    return Record(
        grid="zoo_language_model",
        corpus="prose",
        condition=scheme,
        swept={},
        tuned={},
        stage=stage,
        seed=seed,
        config={"model": {"variant": scheme}},
        config_hash=scheme,
        data={},
        model={"parameters": 1000 + len(scheme)},
        environment={},
        progress={},
        history={},
        outcome=Outcome(status=status, step=100),
        task="causal_lm",
        scores={"test": Scores(metrics={"loss": loss})} if status == "trained" else {},
    )


@pytest.fixture(scope="module")
def records() -> list[Record]:
    noise = np.random.default_rng(0).normal(scale=0.02, size=(4, 5))
    found = [
        record(name, seed, mean + noise[row, seed])
        for row, (name, mean) in enumerate(LOSSES.items())
        for seed in range(5)
    ]
    found += [record("plain", 0, 6.0), record("plain", 1, 0.0, "diverged")]
    found.append(record("unigram", 0, 6.5))  # a baseline is no scheme
    return [*found, record("mhc", 1000, 9.9, stage="tune")]


def test_schemes_are_grouped_by_what_is_told_apart_and_failures_stand_apart(records: list[Record]) -> None:
    ranking = rank(records)
    assert [(row.name, row.standing) for row in ranking.family.rows] == [
        ("mhc", "better"),
        ("rms_norm", "not told apart"),
        ("post_ln", "worse"),
    ]
    assert ranking.failed == {"plain": (1, 2)}
    assert ranking.metric.name == "loss" and ranking.control_seeds == 5


def test_table_and_page_say_the_same(records: list[Record]) -> None:
    ranking = rank(records)
    rows = {row["scheme"]: row for row in csv.DictReader(to_csv(exact_table(ranking)).splitlines())}
    mean = np.mean([r.score("test", "loss") for r in records if r.condition == "mhc" and r.stage == "final"])
    assert float(rows["mhc"]["loss"]) == pytest.approx(mean, abs=1e-6)
    assert (rows["plain"]["group"], rows["plain"]["loss"], rows["plain"]["trained"]) == ("failed", "", "1")
    page = compose(ranking, Grid.load("zoo_language_model"), draw(ranking))
    assert "1 scheme better than Pre-LN, 1 scheme not told apart from Pre-LN, 1 scheme worse than Pre-LN" in page
    assert "plain (1 of 2)" in page and "Dunnett's test" in page


def test_one_table_ranks_the_schemes_and_says_what_each_costs(
    records: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "time_of", lambda variant: {"mhc": "2.50"}.get(variant.name, ""))
    monkeypatch.setattr(module, "memory_of", lambda variant: {"mhc": "1.75", "post_ln": "1.25"}.get(variant.name, ""))
    ranking = rank(records)
    page = compose(ranking, Grid.load("zoo_language_model"), draw(ranking))
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")]
    columns, _, *table = lines
    told = [columns.index(name) for name in ("scheme", "group", "time", "memory", "parameters")]
    assert [[row[place] for place in told] for row in table] == [
        ["mhc", "better", "2.50", "1.75", "1,003"],
        ["rms_norm", "not told apart", "not measured", "not measured", "1,008"],
        ["post_ln", "worse", "not measured", "1.25", "1,007"],
    ]
    rows = {row["scheme"]: row for row in csv.DictReader(to_csv(exact_table(ranking)).splitlines())}
    assert [rows[name]["memory_over_pre_ln"] for name in ("mhc", "rms_norm", "plain")] == ["1.75", "", ""]


def make_runs(results: Path) -> None:
    """Leave two finished runs of Pre-LN and of Post-LN behind."""
    for name, seed in product(("pre_ln", "post_ln"), (0, 1)):
        made = replace(make_record(name, seed), grid="smoke", corpus="listops")
        write_run(results / "runs" / "smoke" / "listops", made)


def test_publish_puts_a_ranking_that_was_asked_for_in_place_of_the_committed_one(
    tmp_path: Path, fails_with_one_line: Callable[..., str]
) -> None:
    def command(verb: str) -> None:
        ablation.main([verb, "smoke", "--results", str(tmp_path)])

    where = Path("ranking", "smoke", "listops")
    own, published = tmp_path / "local" / where, tmp_path / where
    make_runs(tmp_path)
    command("rank")
    assert "holds no finished run" in fails_with_one_line(ablation.main, "publish", "smoke", "--results", tmp_path)
    assert not published.exists()
    command("report")
    shutil.rmtree(tmp_path / "runs")  # committed tables are enough
    command("publish")
    files = {path.name: path.read_bytes() for path in published.iterdir()}
    assert files == {path.name: path.read_bytes() for path in own.iterdir()}
    assert set(files) == {"ranking.csv", "ranking.md", "ranking.png"} and b"post_ln" in files["ranking.csv"]
    shutil.rmtree(own)
    (published / "ranking.csv").write_text("an older one")
    command("publish")
    assert {path.name: path.read_bytes() for path in published.iterdir()} == files


def test_nobody_gets_a_ranking_without_asking(tmp_path: Path) -> None:
    make_runs(tmp_path)
    for verb in ("report", "publish"):
        ablation.main([verb, "smoke", "--results", str(tmp_path)])
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "local", "runs", "smoke"]


def test_a_grid_without_finished_runs_has_no_ranking_and_publishes_none(
    tmp_path: Path, fails_with_one_line: Callable[..., str]
) -> None:
    assert "no final runs to rank" in fails_with_one_line(ablation.main, "rank", "smoke", "--results", tmp_path)
    assert "holds no finished run" in fails_with_one_line(ablation.main, "publish", "smoke", "--results", tmp_path)
    assert not list(tmp_path.rglob("ranking*"))


def test_a_ranking_is_written_from_the_records_of_a_grid(
    records: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        module, "gather_records", lambda *folders, **named: ([(each, tmp_path) for each in records], [])
    )
    paths = module.write_ranking(Grid.load("zoo_language_model"), tmp_path)
    assert [path.name for path in paths] == ["ranking.csv", "ranking.md", "ranking.png"]
    assert all(path.stat().st_size > 100 and path.is_relative_to(tmp_path / "local" / "ranking") for path in paths)


def test_without_a_control_or_a_second_seed_it_says_what_is_missing(records: list[Record]) -> None:
    with pytest.raises(ExperimentError, match="needs runs of pre_ln"):
        rank([each for each in records if each.condition != "pre_ln"])
    with pytest.raises(ExperimentError, match="two seeds"):
        rank([each for each in records if each.seed == 0 and each.condition in ("pre_ln", "mhc")])
    with pytest.raises(ExperimentError, match="no final runs"):
        rank([])


def test_the_two_grids_of_the_zoo_hold_what_they_say() -> None:
    language, classification = Grid.load("zoo_language_model"), Grid.load("zoo_classification")
    names = {condition.name for condition in language.conditions if not condition.baseline}
    assert {"pre_ln", "mhc", "keel", "ngpt"} <= names and "batch_norm" not in names and len(names) == 105
    assert all(len(condition.trials) == 4 for condition in language.conditions if not condition.baseline)
    assert language.seeds == (0, 1) and classification.seeds == (0, 1, 2)
    assert {condition.config.model.layers for condition in (*language.conditions, *classification.conditions)} == {6}
