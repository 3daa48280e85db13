"""The study of removed blocks: its rule by hand, its question before its runs, and a tiny run end to end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from sklearn.metrics import f1_score
from tiny_runs import make, tiny_run

from experiments.errors import ExperimentError
from experiments.paths import GRIDS
from experiments.planning.yaml_files import read_yaml
from experiments.studies.__main__ import main
from experiments.studies.removed_blocks import COLUMNS, RemovalQuestion, read_rows, tolerated, write_page


def course(**scores: float) -> pd.DataFrame:
    counts = [int(name.removeprefix("r")) for name in scores]
    return pd.DataFrame({"removed": counts, "layers": 12, "classes": 5, "macro_f1": list(scores.values())})


def test_a_network_tolerates_what_keeps_half_of_its_score_above_a_guess() -> None:
    # a guess of five classes has 0.2, so half of the way from 0.7 is 0.45
    assert tolerated(course(r0=0.7, r1=0.6, r2=0.45, r4=0.44, r6=0.6)) == pytest.approx(2 / 12)
    assert tolerated(course(r0=0.7, r1=0.2, r2=0.7)) == 0
    assert tolerated(course(r0=0.7, r1=0.7, r11=0.7)) == pytest.approx(11 / 12)


def test_the_question_names_the_conditions_and_seeds_of_its_grid() -> None:
    question = RemovalQuestion.read()
    grid = read_yaml(GRIDS / "block_removal.yaml")
    assert [condition["variant"] for condition in grid["conditions"]] == question.conditions
    assert grid["seeds"] == question.seeds and list(grid["corpora"]) == question.corpora


def test_a_question_with_other_fields_is_refused(tmp_path: Path) -> None:
    (tmp_path / "question.yaml").write_text("question: why\n")
    with pytest.raises(ExperimentError, match="must have the fields"):
        RemovalQuestion.read(tmp_path / "question.yaml")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("removed")
    return make(tiny_run(place / "cache"), place / "results")


def test_a_run_is_measured_once_and_its_page_is_a_function_of_the_measurement(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "o"
    main(["run", "removed_blocks", "--runs", str(run), "--output", str(output)])
    first = {path.name: path.read_bytes() for path in output.iterdir()}
    assert set(first) == {f"removed_blocks.{ending}" for ending in ("csv", "md", "png")}
    rows = read_rows(output / "removed_blocks.csv")
    assert list(rows.columns) == list(COLUMNS) and set(rows.removed) == {0, 1}
    stored = pd.read_parquet(run / "predictions.parquet")
    whole = f1_score(stored["label"], stored["predicted"], average="macro", zero_division=0)
    assert rows.macro_f1[rows.removed == 0].tolist() == pytest.approx([whole] * 6, abs=1e-5)
    main(["run", "removed_blocks", "--runs", str(run), "--output", str(output)])
    assert "is measured already" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in output.iterdir()} == first
    (tmp_path / "again").mkdir()
    write_page(output / "removed_blocks.csv", tmp_path / "again")
    assert (tmp_path / "again" / "removed_blocks.md").read_bytes() == first["removed_blocks.md"]


def test_a_mistake_is_one_line(run: Path, tmp_path: Path, fails_with_one_line: Callable[..., str]) -> None:
    assert "name their folders" in fails_with_one_line(main, "run", "removed_blocks")
    assert "--output" in fails_with_one_line(main, "run", "removed_blocks", "--runs", run)
    both = ("run", "removed_blocks", "padding_leak", "--runs", run, "--output", tmp_path)
    assert "one at a time" in fails_with_one_line(main, *both)
    (tmp_path / "removed_blocks.csv").write_text("a,b\n1,2\n")
    assert "must have rows" in fails_with_one_line(main, "run", "removed_blocks", "--runs", run, "--output", tmp_path)
