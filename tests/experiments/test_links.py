"""Nothing behind a link below `results` is read, written or removed, and nothing that no command of ours wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from synthetic_records import make_records, write_runs
from tiny_runs import tiny_run

from experiments import ablation
from experiments.benchmark import __main__ as benchmark
from experiments.errors import ExperimentError
from experiments.paths import below, checked_name, own_tables_folder, runs_folder
from experiments.runs.execute import execute
from experiments.runs.run_folder import remove_earlier_attempt, write_atomically

THESIS = "forty pages"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    for name in ("thesis.txt", "run.json", "best.ckpt", "thesis.csv"):
        (folder / name).write_text(THESIS)
    return folder


def is_untouched(outside: Path) -> bool:
    return {path.read_text() for path in outside.iterdir()} == {THESIS} and len(list(outside.iterdir())) == 4


def test_the_root_may_be_a_link_and_nothing_below_it(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    root = tmp_path / "results"
    root.symlink_to(tmp_path / "disk")
    assert below(root, "runs", "quick") == root / "runs" / "quick"
    (root / "runs").symlink_to(tmp_path)
    with pytest.raises(ExperimentError, match="runs is a link"):
        runs_folder(root, "quick", "listops")


@pytest.mark.parametrize("depth", range(1, 6))
def test_a_run_whose_folder_lies_behind_a_link_is_refused(depth: int, outside: Path, tmp_path: Path) -> None:
    run, results = tiny_run(tmp_path), tmp_path / "linked"
    parts = run.folder(results).relative_to(results).parts
    link = results.joinpath(*parts[:depth])
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside)
    with pytest.raises(ExperimentError, match="is a link, and nothing is read, written or removed behind it"):
        execute(run, results)
    assert is_untouched(outside)


def test_the_benchmark_writes_no_table_behind_a_link(
    outside: Path, tmp_path: Path, fails_with_one_line: Callable[..., str]
) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "benchmark").symlink_to(outside)
    message = fails_with_one_line(benchmark.main, "--side", "lightning", "--results", tmp_path / "results")
    assert "benchmark is a link" in message and is_untouched(outside)


def test_clean_removes_no_checkpoint_behind_a_link(outside: Path, tmp_path: Path) -> None:
    cell = tmp_path / "results" / "runs" / "smoke" / "listops" / "pre_ln" / "default"
    cell.mkdir(parents=True)
    (cell / "seed_0").symlink_to(outside)
    with pytest.raises(SystemExit):
        ablation.main(["clean", "smoke", "--results", str(tmp_path / "results")])
    assert is_untouched(outside)


def test_a_new_attempt_removes_what_runs_write_and_leaves_a_persons_own_files(tmp_path: Path, outside: Path) -> None:
    names = ("run.json", "config.yaml", "metrics.csv", "best.ckpt", "last-v1.ckpt", "events.out.tfevents.17.host.1.0")
    for name in names:
        (tmp_path / name).write_text("earlier")
    (tmp_path / "notes.txt").write_text(THESIS)
    (tmp_path / "plots").mkdir()
    (tmp_path / "timing.csv").symlink_to(outside / "thesis.txt")
    remove_earlier_attempt(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt", "plots", "outside"}
    assert is_untouched(outside)


def test_an_atomic_write_does_not_follow_a_link(tmp_path: Path, outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getpid", lambda: 7)
    (tmp_path / "table.csv").symlink_to(outside / "thesis.csv")
    (tmp_path / ".table.csv.7.partial").symlink_to(outside / "thesis.txt")
    write_atomically(tmp_path / "table.csv", b"new")
    assert (tmp_path / "table.csv").read_bytes() == b"new" and not (tmp_path / "table.csv").is_symlink()
    assert is_untouched(outside)


LINKS: dict[str, Callable[[Path, Path], None]] = {
    "its figures": lambda folder, outside: (folder / "figures").symlink_to(outside),
    "a table": lambda folder, outside: (folder / "earlier.csv").symlink_to(outside / "thesis.csv"),
}


@pytest.mark.parametrize("name", LINKS)
def test_a_report_removes_nothing_behind_a_link_in_its_folder(name: str, outside: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    write_runs(runs_folder(results, "smoke", "listops"), make_records())
    folder = own_tables_folder(results, "smoke", "listops")
    ablation.main(["report", "smoke", "--results", str(results)])
    LINKS[name](folder, outside)
    (folder / "notes.txt").write_text(THESIS)
    ablation.main(["report", "smoke", "--results", str(results)])
    assert is_untouched(outside)
    assert (folder / "notes.txt").read_text() == THESIS


@pytest.mark.parametrize(
    "name", ["../../x", "/etc", "..", ".hidden", "", "a\nb", "a b", "x" * 300, "runs", "local", "History", "ä", "a/b"]
)
def test_a_name_that_would_leave_its_folder_or_take_anothers_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"cannot name a folder|is taken by a folder of results"):
        checked_name("--name", name)


@pytest.mark.parametrize("name", ["quick", "quick+layers=12", "my-grid_2.1"])
def test_a_plain_name_is_taken_as_it_is(name: str) -> None:
    assert checked_name("--name", name) == name


@pytest.mark.parametrize("name", ["runs.yaml", "...yaml", "a b.yaml"])
def test_a_grid_file_of_such_a_name_is_refused_in_one_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text("conditions: [pre_ln]\ndata: {corpus: listops}\n")
    with pytest.raises(SystemExit):
        ablation.main(["plan", str(tmp_path / name)])
    message = capsys.readouterr().err
    assert message.startswith("error: grid file ") and message.count("\n") == 1
