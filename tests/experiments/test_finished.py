"""Which runs a grid need not make again."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic_records import make_record
from tiny_runs import make, tiny_run

from experiments.errors import ExperimentError
from experiments.planning.grid import Grid
from experiments.planning.runs import Run
from experiments.runs.finished import FinishedRuns, refuse_other_records
from experiments.runs.record import Outcome, Record
from experiments.runs.run_folder import read_record, write_record
from experiments.runs.store import Evidence


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return tiny_run(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Grid:
    file = tmp_path_factory.mktemp("grids") / "tiny.yaml"
    file.write_text("conditions: [pre_ln]\nseeds: 2\ndata: {corpus: listops}\n")
    return Grid.load(str(file))


@pytest.fixture(scope="module")
def finished_elsewhere(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a results folder that holds the run's committed evidence and no run folder, as a fresh clone does."""
    elsewhere, here = tmp_path_factory.mktemp("elsewhere"), tmp_path_factory.mktemp("here")
    make(run, elsewhere)
    Evidence.gather(elsewhere / "runs" / "tiny" / "listops", here).save(here / "tiny" / "listops")
    return here


def text_of(record: Record) -> tuple[str, str]:
    return record.data["fingerprint"], record.data["split_hash"]


def test_a_run_folder_with_its_record_is_finished(grid: Grid, run: Run, tmp_path: Path) -> None:
    finished = FinishedRuns(grid, tmp_path)
    text = text_of(read_record(make(run, tmp_path)))
    assert finished.holds(run, *text)
    assert not finished.holds(run, "of other data", text[1])
    assert not finished.holds(run, text[0], "of other splits")
    assert not finished.holds(tiny_run(tmp_path / "cache", seed=1), *text)
    assert not finished.holds(tiny_run(tmp_path / "cache", batch_size=16), *text)


def test_committed_records_count_only_where_asked_for(grid: Grid, run: Run, finished_elsewhere: Path) -> None:
    kept = FinishedRuns(grid, finished_elsewhere, committed=True)
    (record,) = kept.records()
    text = text_of(record)
    assert kept.holds(run, *text) and not kept.holds(run, "of other data", text[1])
    ignored = FinishedRuns(grid, finished_elsewhere)
    assert ignored.records() == [] and not ignored.holds(run, *text)


def test_a_local_failure_does_not_hide_the_committed_record(grid: Grid, run: Run, finished_elsewhere: Path) -> None:
    (committed,) = FinishedRuns(grid, finished_elsewhere, committed=True).records()
    folder = finished_elsewhere / "runs" / grid.name / "listops" / "pre_ln" / "default" / "seed_0"
    write_record(folder, replace(committed, outcome=Outcome(status="failed", step=0, reason="x")))
    try:
        assert FinishedRuns(grid, finished_elsewhere, committed=True).records() == [committed]
        (alone,) = FinishedRuns(grid, finished_elsewhere).records()
        assert alone.outcome.status == "failed"
    finally:
        shutil.rmtree(finished_elsewhere / "runs")


def test_committed_records_of_other_rows_decide_nothing(grid: Grid, finished_elsewhere: Path) -> None:
    (committed,) = FinishedRuns(grid, finished_elsewhere, committed=True).records()
    text = text_of(committed)
    for texts, kept in (([text], [committed]), ([(text[0], "other splits")], []), ([("other text", text[1])], [])):
        assert FinishedRuns(grid, finished_elsewhere, committed=True, texts=texts).records() == kept


def test_runs_of_another_text_of_the_same_name_are_not_overwritten(tmp_path: Path) -> None:
    refuse_other_records(tmp_path, [make_record("pre_ln", 0)], "f00d")
    with pytest.raises(ExperimentError, match=r"holds runs of another text .*--results"):
        refuse_other_records(tmp_path, [make_record("pre_ln", 0), make_record("pre_ln", 1)], "beef")
