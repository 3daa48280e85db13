"""`experiments.studies`: measurements are made once, and every table is a pure function of them."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from rich.console import Console
from synthetic_records import make_record

from experiments.errors import RecordError
from experiments.paths import PUBLISHED_CLAIMS
from experiments.planning.expansion import final_runs
from experiments.planning.grid import Grid
from experiments.planning.yaml_files import read_yaml
from experiments.reproduce import main as old_command
from experiments.runs.record import Outcome
from experiments.runs.run_folder import write_record
from experiments.studies.__main__ import main
from experiments.studies.measurements import (
    MEASUREMENTS_FILE,
    SeedMeasurement,
    committed_bytes,
    gather,
    local_file,
    measure,
    measure_missing,
    published_folder,
    read_committed,
    write_local,
)
from experiments.studies.published import PublishedResult, Reproduction, load_results, read_result
from experiments.studies.report import gather_result, own_folder, write_report, write_result
from experiments.studies.study import Row, StudyAtStart

REPOSITORY = Path(__file__).parents[3]
RESULTS = REPOSITORY / "results"
FILES = {read_result(path).id: path for path in PUBLISHED_CLAIMS.iterdir()}
QUIET = Console(quiet=True)


@pytest.fixture
def tiny(tmp_path: Path) -> PublishedResult:
    """The claim T4a at a size that takes a moment."""
    content = read_yaml(FILES["T4a"])
    content["setup"] |= {"seeds": 3, "layers": [1, 2], "length": 3}
    content["findings"] = None
    path = tmp_path / "T4a_tiny.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return read_result(path)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_committed_tables_are_rebuilt_from_committed_measurements(tmp_path: Path) -> None:
    """Everything but the pictures is equal to the byte; pictures depend on the machine's font rendering."""
    committed = RESULTS / "reproductions"
    for path in committed.glob(f"*/{MEASUREMENTS_FILE}"):
        target = tmp_path / path.relative_to(RESULTS)
        target.parent.mkdir(parents=True)
        shutil.copy(path, target)
    for grid in ("adam_stability",):
        if (RESULTS / grid).exists():
            shutil.copytree(RESULTS / grid, tmp_path / grid)
    write_report(tmp_path, own_folder(tmp_path))
    before, after = contents(committed), contents(tmp_path / "local" / "reproductions")
    assert set(before) == set(after)
    assert [name for name in before if not name.endswith(".png") and before[name] != after[name]] == []


def test_every_seed_of_every_claim_at_initialisation_is_committed() -> None:
    for claim in load_results():
        assert [measurement.seed for measurement in read_committed(RESULTS, claim)] == list(claim.seeds)


def test_run_measures_what_is_missing_and_nothing_twice(tiny: PublishedResult, tmp_path: Path) -> None:
    assert measure_missing([tiny], tmp_path, QUIET) == 3
    before = contents(tmp_path)
    assert measure_missing([tiny], tmp_path, QUIET) == 0
    local_file(tmp_path, tiny, 1).write_text("half a fi")
    assert measure_missing([tiny], tmp_path, QUIET) == 1
    assert contents(tmp_path) == before


def test_a_measurement_of_another_setup_is_made_again(tiny: PublishedResult, tmp_path: Path) -> None:
    outdated = SeedMeasurement(id="T4a", config_hash="other", seed=0, rows=[])
    write_local(tmp_path, tiny, outdated)
    assert measure_missing([tiny], tmp_path, QUIET) == 3
    assert gather(tmp_path, tiny)[0].config_hash == tiny.hash()


def test_a_stopped_run_keeps_the_seeds_it_measured(
    tiny: PublishedResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure_seed = type(tiny.setup).measure

    def stop_at_the_second(study: StudyAtStart, seed: int) -> list[Row]:
        if seed == 1:
            raise KeyboardInterrupt
        return measure_seed(study, seed)

    monkeypatch.setattr(type(tiny.setup), "measure", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        measure_missing([tiny], tmp_path, QUIET)
    assert [measurement.seed for measurement in gather(tmp_path, tiny)] == [0]
    assert gather_result(tiny, tmp_path).assessment.verdict is Reproduction.NOT_RUN
    assert "2 of 3 seeds are not measured" in gather_result(tiny, tmp_path).missing


def test_the_evidence_stands_alone_and_has_the_same_bytes_again(tiny: PublishedResult, tmp_path: Path) -> None:
    measure_missing([tiny], tmp_path / "here", QUIET)
    folder = published_folder(tmp_path / "here") / tiny.id
    write_result(gather_result(tiny, tmp_path / "here"), folder)
    elsewhere = published_folder(tmp_path / "there") / tiny.id
    elsewhere.mkdir(parents=True)
    shutil.copy(folder / MEASUREMENTS_FILE, elsewhere)
    write_result(gather_result(tiny, tmp_path / "there"), elsewhere)
    assert contents(folder) == contents(elsewhere)
    assert set(contents(folder)) == {MEASUREMENTS_FILE, "table.csv", "conditions.csv", "figure.png"}


def test_a_damaged_file_of_measurements_is_named(tiny: PublishedResult, tmp_path: Path) -> None:
    folder = published_folder(tmp_path) / tiny.id
    folder.mkdir(parents=True)
    (folder / MEASUREMENTS_FILE).write_bytes(committed_bytes([])[:-4])
    with pytest.raises(RecordError, match=r"measurements\.jsonl\.gz is damaged"):
        gather(tmp_path, tiny)


@pytest.mark.parametrize("change", [{"smallest": None}, {"further": 1.0}])
def test_a_row_with_other_columns_is_named(
    change: dict[str, float | None], tiny: PublishedResult, tmp_path: Path
) -> None:
    measurement = measure(tiny, 0)
    name, value = next(iter(change.items()))
    measurement.rows[1].pop(name, None)
    measurement.rows[1].update({name: value} if value else {})
    write_local(tmp_path, tiny, measurement)
    with pytest.raises(RecordError, match="seed 0 of T4a has a row without exactly the columns largest"):
        gather_result(tiny, tmp_path)


def stability_records(tmp_path: Path, lost: int, missing: int = 0) -> Path:
    """Write the grid's runs, with the first cells of Post-LN collapsed and better than Pre-LN elsewhere."""
    grid = Grid.load("adam_stability")
    runs = sorted(final_runs(grid), key=lambda run: run.name)
    post_ln = [run for run in runs if run.condition == "post_ln"]
    for run in runs[missing:]:
        skill = "pre_ln" if run.condition == "post_ln" else "no_norm"
        record = replace(make_record(skill, run.seed), **run.record_fields())
        if run in post_ln[:lost]:
            record.outcome = Outcome(status="collapsed", step=1, reason="it sat at the majority class")
        write_record(run.folder(tmp_path), record)
    return tmp_path


@pytest.mark.parametrize(
    ("lost", "missing", "verdict"),
    [(4, 0, Reproduction.REPRODUCED), (3, 0, Reproduction.NOT_REPRODUCED), (4, 1, Reproduction.NOT_RUN)],
)
def test_stability_is_judged_from_the_grids_records(
    lost: int, missing: int, verdict: Reproduction, tmp_path: Path
) -> None:
    (claim,) = load_results(["T5"])
    result = gather_result(claim, stability_records(tmp_path, lost, missing))
    assert result.assessment.verdict is verdict
    if verdict is not Reproduction.NOT_RUN:
        assert len(result.rows) == 30
        write_result(result, tmp_path / "T5")
        assert set(contents(tmp_path / "T5")) == {"table.csv", "conditions.csv", "figure.png"}


def test_the_report_names_every_claim_with_its_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    main(["report", "T1", "--results", str(tmp_path)])
    assert capsys.readouterr().out.count("not run") == len(load_results())
    own = tmp_path / "local" / "reproductions"
    with (own / "verdicts.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [published.id for published in load_results()]
    text = (own / "report.md").read_text(encoding="utf-8")
    assert all(f"## {claim.id} · " in text and claim.claim.zh in text for claim in load_results())


def test_only_what_is_measured_whole_is_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["publish", "T1", "--results", str(tmp_path)])
    message = capsys.readouterr().err
    assert stopped.value.code == 2 and message.startswith("error: nothing is published: T1 (") and "T10" in message
    assert not (tmp_path / "reproductions").exists() and not (tmp_path / "local").exists()


def test_a_mistake_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["report", "T99"])
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("error: claim 'T99' is not known") and message.count("\n") == 1


def test_help_imports_no_torch() -> None:
    program = (
        "import sys\nfrom experiments.studies.__main__ import main\n"
        "try:\n    main(['report', '--help'])\nfinally:\n    print('torch' in sys.modules, 'pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.stdout.strip().splitlines()[-1] == "False False", done.stderr


def test_report_imports_no_torch(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom experiments.studies.__main__ import main\n"
        f"main(['report', '--results', {str(tmp_path)!r}])\nprint('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.stdout.strip().splitlines()[-1] == "False", done.stderr


def test_the_old_command_says_the_new_one_and_does_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old_command(["report", "T1", "--results", str(tmp_path)])
    captured = capsys.readouterr()
    assert captured.err == f"moved: python -m experiments.studies report T1 --results {tmp_path}\n"
    assert captured.out.count("not run") == len(load_results())


def test_nothing_imports_a_study_but_the_verbs_that_run_one() -> None:
    verbs = {"probe.py", "reproduce.py"}
    packages = [REPOSITORY / name for name in ("data_modules", "lightning_modules", "experiments")]
    others = [path for package in packages for path in package.rglob("*.py") if path.parent.name != "studies"]
    assert len(others) > 100
    assert {path.name for path in others if "experiments.studies" in path.read_text(encoding="utf-8")} == verbs
