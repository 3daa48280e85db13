"""The stability map's table and page say what the trials say."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from experiments.errors import ExperimentError
from experiments.paths import REPOSITORY
from experiments.studies.__main__ import main
from experiments.studies.rate_edges import Ending, RateQuestion, RateTrial, write_trial
from experiments.studies.rate_page import write_map
from experiments.studies.rate_trials import ending_of

QUESTION = RateQuestion.read()
RESULTS = REPOSITORY / "results"
SETUP = QUESTION.setup


def leave(results: Path, scheme: str, layers: int, endings: dict[tuple[int, int], Ending]) -> None:
    """Write trials of a cell by power and seed."""
    for (power, seed), ending in endings.items():
        trial = RateTrial(
            scheme=scheme,
            layers=layers,
            power=power,
            rate=SETUP.rate(power),
            seed=seed,
            ending=ending,
            step=200,
            first_loss=5.0,
            last_loss=None if ending == "not finite" else 3.0,
            unigram_loss=3.05,
            losses=[5.0],
            setup_hash=SETUP.hash(),
        )
        write_trial(results, trial)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("results")
    leave(results, "pre_ln", 6, {(2, 0): "survived", (2, 1): "survived", (3, 0): "no context"})
    leave(results, "keel", 6, {(2, 0): "survived", (3, 0): "survived", (3, 1): "survived", (5, 0): "not finite"})
    leave(results, "keel", 6, {(4, 0): "above its start"})
    dead: dict[tuple[int, int], Ending] = {(power, 0): "no context" for power in range(-3, 3)}
    leave(results, "plain", 6, dead)
    leave(results, "post_ln", 6, {(2, 0): "survived"})  # whose search is not done
    write_map(QUESTION, results, results / "local")
    return results / "local" / "zoo_stability"


def test_the_table_has_every_known_edge_and_its_distance_from_pre_ln(written: Path) -> None:
    with (written / "stability.csv").open(encoding="utf-8") as file:
        rows = {row["scheme"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"pre_ln", "keel", "plain"}
    assert (rows["keel"]["largest_rate"], rows["keel"]["factors_of_two_from_pre_ln"]) == ("0.008", "1")
    assert (rows["keel"]["next_rate"], rows["keel"]["fails"]) == ("0.016", "above its start")
    assert (rows["plain"]["largest_rate"], rows["plain"]["runs"]) == ("", "6")


def test_the_page_begins_with_the_answer_and_names_what_survived_nothing(written: Path) -> None:
    page = (written / "report.md").read_text(encoding="utf-8")
    assert "of 2 other schemes: 1 survive larger rates, 0 the same, 0 smaller ones, 1 none" in page
    assert "At 6 blocks no rate was survived by `plain`." in page
    assert (written / "survived.png").stat().st_size > 1000


def test_the_map_is_rebuilt_to_the_byte_from_what_is_committed(written: Path, tmp_path: Path) -> None:
    write_map(QUESTION, written.parent, tmp_path)  # where no run folders are
    for path in written.iterdir():
        if path.name != ".lock":
            assert (tmp_path / "zoo_stability" / path.name).read_bytes() == path.read_bytes(), path.name


def test_without_any_edge_the_command_to_make_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="studies run zoo_stability"):
        write_map(QUESTION, tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("losses", "finite", "ending"),
    [
        ([5.0] * 180 + [2.94] * 20, True, "survived"),
        ([5.0] * 180 + [2.96] * 20, True, "no context"),  # less than 0.05 below 3.0
        ([5.0] * 180 + [5.0] * 20, True, "above its start"),
        ([5.0] * 199 + [float("nan")], True, "not finite"),
        ([5.0] * 180 + [2.0] * 20, False, "not finite"),  # whose gradient overflowed
        ([5.0] * 30, True, "not finite"),  # stopped early
    ],
)
def test_a_run_ends_as_the_question_file_says(losses: list[float], finite: bool, ending: str) -> None:
    assert ending_of(SETUP, losses, 3.0, finite=finite) == ending


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan"],
        ["plan", "T1"],
        ["report", "zoo_stability", "--cpu_minutes", "3"],
        ["run", "zoo_stability", "--cpu_minutes", "0"],
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_measured(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_the_committed_map_is_rebuilt_to_the_byte(tmp_path: Path) -> None:
    committed = RESULTS / "zoo_stability"
    for path in write_map(QUESTION, RESULTS, tmp_path):
        assert path.read_bytes() == (committed / path.name).read_bytes(), path.name
