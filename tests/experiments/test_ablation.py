"""`experiments.ablation`: fast verbs import no torch, and nothing touches what another process is making."""

import errno
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pytest
from rich.console import Console
from synthetic_records import evidence_of, make_record, write_run, write_runs
from tiny_runs import make, tiny_run

from experiments import ablation
from experiments.errors import readable_errors
from experiments.making.grid_runner import Text, splitting
from experiments.making.messages import Event, Failed
from experiments.making.pool import Pool
from experiments.planning.expansion import final_runs
from experiments.planning.grid import Grid
from experiments.planning.runs import Run
from experiments.runs.record import Outcome, Record
from experiments.runs.run_folder import locked, write_record
from experiments.runs.store import Evidence, read_committed

REPOSITORY = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("arguments", [["--help"], ["status", "article"], ["report", "smoke"]], ids=lambda a: a[0])
def test_help_status_and_report_import_no_torch(arguments: list[str], tmp_path: Path) -> None:
    results = tmp_path / "results"
    write_record(results / "runs" / "smoke" / "listops" / "pre_ln" / "default" / "seed_0", make_record("pre_ln", 0))
    more = [] if arguments == ["--help"] else ["--results", str(results)]
    code = (
        "import sys\nfrom experiments.ablation import main\n"
        f"try:\n    main({[*arguments, *more]!r})\n"
        "finally:\n    print('torch' in sys.modules, 'lightning' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert done.stdout.splitlines()[-1] == "False False"
    assert done.stderr == ""


def test_clean_removes_checkpoints_alone_and_none_of_a_run_in_progress(tmp_path: Path) -> None:
    runs = tmp_path / "runs" / "smoke" / "listops"
    folders = [runs / "pre_ln" / "default" / f"seed_{seed}" for seed in (0, 1)]
    for folder in folders:
        folder.mkdir(parents=True)
        for name in ("best.ckpt", "last.ckpt", "run.json", "metrics.csv"):
            (folder / name).write_text("content")
    with locked(folders[1]):
        ablation.main(["clean", "smoke", "--results", str(tmp_path)])
    assert {path.name for path in folders[0].iterdir()} == {"run.json", "metrics.csv"}
    assert {path.name for path in folders[1].iterdir()} >= {"best.ckpt", "last.ckpt", "run.json", "metrics.csv"}


def test_status_counts_every_ending_and_fits_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    grid = tmp_path / "endings.yaml"
    grid.write_text("conditions: [pre_ln, no_residual]\nseeds: 3\ndata: {corpus: listops}\n")
    for run, status in zip(planned(grid), ("trained", "collapsed", "diverged", "failed"), strict=False):
        record = make_record("pre_ln", 0)
        record.config_hash, record.outcome = run.config.hash(), Outcome(status=status, step=1, reason="So it ended.")
        write_record(run.folder(tmp_path), record)
    ablation.main(["status", str(grid), "--results", str(tmp_path)])
    said = capsys.readouterr().out
    assert "6 runs: 1 trained, 1 collapsed, 1 diverged, 1 failed, 0 running, 2 missing" in said
    assert max(len(line) for line in said.splitlines()[:6]) <= 80
    assert "So it ended." in said


def planned(grid: Path) -> list[Any]:
    return final_runs(Grid.load(str(grid)))


def test_a_full_disk_while_a_run_writes_its_record_is_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = make(tiny_run(tmp_path / "cache"), tmp_path)
    before = (finished / "run.json").read_bytes()

    def full(folder: Path, record: Record) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(folder / "run.json"))

    monkeypatch.setattr("experiments.runs.conclude.write_record", full)
    with pytest.raises(SystemExit) as ended, readable_errors():
        make(tiny_run(tmp_path / "cache", seed=1), tmp_path)
    assert ended.value.code == 2
    said = capsys.readouterr().err.strip()
    assert said.count("\n") == 0 and "No space left on device" in said
    assert (finished / "run.json").read_bytes() == before
    assert not (finished.parent / "seed_1" / "run.json").exists()


def test_a_report_of_tuning_trials_alone_keeps_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trial = make_record("pre_ln", 0, stage="tune")
    write_record(tmp_path / "runs" / "smoke" / "listops" / "pre_ln" / "tune" / "seed_0", trial)
    with pytest.raises(SystemExit):
        ablation.main(["report", "smoke", "--results", str(tmp_path)])
    assert "1 tuning trials and no finished run" in capsys.readouterr().err
    (kept,) = read_committed(tmp_path / "local" / "smoke" / "listops")
    assert (kept.stage, kept.config_hash, kept.history) == ("tune", trial.config_hash, trial.history)


def test_a_report_of_trials_alone_leaves_committed_final_runs_alone(tmp_path: Path) -> None:
    committed = tmp_path / "smoke" / "listops"
    evidence_of(make_record("pre_ln", 0)).save(committed)
    before = {path.name: path.read_bytes() for path in committed.iterdir()}
    trial = make_record("pre_ln", 0, stage="tune")
    trial.data["fingerprint"] = "another text"
    write_record(tmp_path / "runs" / "smoke" / "listops" / "pre_ln" / "tune" / "seed_0", trial)
    with pytest.raises(SystemExit):
        ablation.main(["report", "smoke", "--results", str(tmp_path)])
    assert {path.name: path.read_bytes() for path in committed.iterdir()} == before


def test_a_report_of_some_conditions_is_the_report_of_all(tmp_path: Path) -> None:
    grid = tmp_path / "toy.yaml"
    grid.write_text(
        "conditions: [{name: slow, title: Slow start, variant: pre_ln}, post_ln]\ndata: {corpus: listops}\n"
    )
    for name in ("slow", "post_ln"):
        folder = tmp_path / "results" / "runs" / "toy" / "listops" / name / "default" / "seed_0"
        write_record(folder, replace(make_record("pre_ln", 0), condition=name))
    said = []
    for only in ([], ["--conditions", "[post_ln]"]):
        ablation.main(["report", str(grid), "--results", str(tmp_path / "results"), *only])
        said.append((tmp_path / "results" / "local" / "toy" / "listops" / "report.md").read_text())
    assert said[0] == said[1] and "Slow start" in said[0]


def test_when_every_run_failed_the_last_thing_said_is_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(pool: Pool, runs: list[Run], *_: Any) -> Iterator[Event]:
        yield from (Event(run, Failed("RuntimeError: the [model] is broken", mistake=False), 0) for run in runs)

    def prepared(grid: Grid, console: Console) -> Text:
        return Text("f00d", {splitting(run.config.data): "beef" for run in final_runs(grid)})

    monkeypatch.setattr("experiments.making.grid_runner.prepare_corpus", prepared)
    monkeypatch.setattr("experiments.making.engines.Pool.make_runs", failing)
    with pytest.raises(SystemExit) as ended:
        ablation.main(["run", "smoke", "--results", str(tmp_path)])
    assert ended.value.code == 1
    said, complaint = capsys.readouterr()
    assert complaint == ""
    last = said[said.index("run(s) failed") :]
    assert "pre_ln/tune,learning_rate=0.001/seed_1000: " in last and "RuntimeError: the [model] is broken" in last


def own_and_published(results: Path, *records: Record) -> tuple[Path, Path]:
    for record in records:
        write_run(results / "runs" / "smoke" / "listops", replace(record, grid="smoke", corpus="listops"))
    return results / "local" / "smoke" / "listops", results / "smoke" / "listops"


def save(folder: Path, *records: Record) -> None:
    """Write the evidence of records as it stands beside a table."""
    with TemporaryDirectory() as runs:
        Evidence.gather(write_runs(Path(runs), list(records)), Path(runs) / "none").save(folder)


def test_a_report_goes_to_a_folder_of_ones_own_and_publish_puts_it_in_place_of_the_committed_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, published = own_and_published(tmp_path, make_record("pre_ln", 0), make_record("post_ln", 0))
    (published / "figures").mkdir(parents=True)
    save(published, make_record("pre_ln", 7))
    (published / "figures" / "macro_f1.png").write_bytes(b"an older one, which a page shows")
    (published / "summary.tex").write_text("of an older layout")
    before = {path: path.read_bytes() for path in published.rglob("*") if path.is_file()}
    ablation.main(["report", "smoke", "--results", str(tmp_path)])
    assert {path: path.read_bytes() for path in published.rglob("*") if path.is_file()} == before
    assert capsys.readouterr().out.rstrip().endswith(f"and {own / 'report.md'}")
    ablation.main(["publish", "smoke", "--results", str(tmp_path)])
    made = {str(path.relative_to(own)) for path in own.rglob("*") if path.is_file()}
    assert {str(path.relative_to(published)) for path in published.rglob("*") if path.is_file()} == {
        *made,
        "figures/macro_f1.png",
    }
    assert all((published / name).read_bytes() == (own / name).read_bytes() for name in made)
    assert (published / "figures" / "macro_f1.png").read_bytes().startswith(b"\x89PNG")
    assert [record.seed for record in read_committed(published)] == [0, 0, 7]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "local", "runs", "smoke"]


def test_a_copy_for_spreadsheets_runs_no_name_as_a_formula_and_goes_when_it_is_not_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = make_record("pre_ln", 0)
    for scores in record.scores.values():
        for entry in scores.details["per_class"]:
            entry["class"] = {"torch": "=1+1", "numpy": "-2"}.get(entry["class"], entry["class"])
    own, _ = own_and_published(tmp_path, record)
    ablation.main(["report", "smoke", "--results", str(tmp_path), "--spreadsheet"])
    exact, copy = (pd.read_csv(own / f"per_class{ending}.csv", dtype=str) for ending in ("", ".spreadsheet"))
    assert exact["class"].tolist() == ["=1+1", "-2", "pandas"]
    assert copy["class"].tolist() == ["'=1+1", "-2", "pandas"]
    pd.testing.assert_frame_equal(exact.drop(columns="class"), copy.drop(columns="class"))
    assert {path.name.replace(".spreadsheet", "") for path in own.glob("*.spreadsheet.csv")} == {
        path.name for path in own.glob("*.csv") if path.name != "timing.csv" and ".spreadsheet" not in path.name
    }
    ablation.main(["report", "smoke", "--results", str(tmp_path)])
    assert not list(own.glob("*.spreadsheet.csv"))


def test_what_is_not_there_or_contradicts_itself_is_not_published(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusal() -> str:
        with pytest.raises(SystemExit) as stopped:
            ablation.main(["publish", "smoke", "--results", str(tmp_path)])
        assert stopped.value.code == 2
        return capsys.readouterr().err

    own, published = own_and_published(tmp_path, make_record("pre_ln", 0))
    assert "holds no finished run" in refusal()
    ablation.main(["report", "smoke", "--results", str(tmp_path)])
    monkeypatch.setattr("experiments.reporting.grid_report.LARGEST", 10)
    assert "MiB" in refusal()
    monkeypatch.undo()
    table = pd.read_parquet(own / "predictions.parquet")
    table.iloc[0, -1] = (table.iloc[0, -1] + 1) % 3
    table.to_parquet(own / "predictions.parquet")
    assert "is not that of its predictions" in refusal()
    assert not published.exists()


def test_a_report_is_rebuilt_from_ones_own_tables_after_the_run_folders_are_gone(tmp_path: Path) -> None:
    own, published = own_and_published(tmp_path, make_record("pre_ln", 0))
    save(published, make_record("post_ln", 3))
    ablation.main(["report", "smoke", "--results", str(tmp_path)])
    before = {path.name: path.read_bytes() for path in own.iterdir()}
    shutil.rmtree(tmp_path / "runs")
    ablation.main(["report", "smoke", "--results", str(tmp_path)])
    assert {path.name: path.read_bytes() for path in own.iterdir()} == before
    assert [(record.condition, record.seed) for record in read_committed(own)] == [("post_ln", 3), ("pre_ln", 0)]


def test_a_run_that_is_committed_in_another_version_is_taken_from_there(tmp_path: Path) -> None:
    own, published = own_and_published(tmp_path)
    old, new = make_record("pre_ln", 0), replace(make_record("pre_ln", 0), history={"train": {"step": [1]}})
    save(own, old, make_record("post_ln", 0))
    save(published, new)
    ablation.main(["report", "smoke", "--results", str(tmp_path)])
    kept = {record.condition: record.history for record in read_committed(own)}
    assert kept == {"pre_ln": new.history, "post_ln": make_record("post_ln", 0).history}


def test_committed_runs_of_another_text_give_way_to_ones_own_whose_run_folders_are_gone(tmp_path: Path) -> None:
    own, published = own_and_published(tmp_path)
    elsewhere = make_record("pre_ln", 5)
    elsewhere.data["fingerprint"] = "the text of other packages"
    save(own, make_record("pre_ln", 0))
    save(published, elsewhere)
    ablation.main(["report", "smoke", "--results", str(tmp_path)])
    assert [record.seed for record in read_committed(own)] == [0]
