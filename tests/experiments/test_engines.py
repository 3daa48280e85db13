"""Choosing where runs are made: mistakes are one line, and the ordinary engine needs no Ray."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_runs import make, tiny_run

from experiments import ablation
from experiments.making.engines import LocalEngine
from experiments.making.messages import Finished, Skipped
from experiments.making.worker import make as make_in_worker
from experiments.runs.run_folder import record_mark

REPOSITORY = Path(__file__).parent.parent.parent


def complaint(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """Return the one line with which `run` ends."""
    with pytest.raises(SystemExit) as ended:
        ablation.main(["run", "smoke", *options])
    assert ended.value.code == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    return said


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--engine", "rey"], "did you mean 'ray'"),
        (["--gpus_per_run", "0.5"], "--gpus_per_run needs --engine ray"),
        (["--ray_address", "auto"], "--ray_address needs --engine ray"),
        (["--engine", "ray", "--gpus_per_run", "1.5"], "--gpus_per_run is 1.5"),
        (["--engine", "ray", "--gpus_per_run=-1"], "--gpus_per_run is -1"),
        (["--engine", "ray", "--cpus_per_run", "0"], "--cpus_per_run is 0"),
        (["--engine", "ray", "--max_retries=-1"], "--max_retries is -1"),
        (["--engine", "ray", "--ray_address", "ray://10.0.0.1:10001"], "HOST:PORT"),
        (["--workers", "0"], "--workers is 0"),
    ],
)
def test_an_impossible_option_is_one_line(
    options: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in complaint(capsys, *options, "--results", str(tmp_path))


def test_without_ray_its_engine_says_how_to_get_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec

    def missing(name: str, *more: str) -> object:
        return None if name == "ray" else found(name, *more)

    monkeypatch.setattr("importlib.util.find_spec", missing)
    said = complaint(capsys, "--engine", "ray", "--results", str(tmp_path))
    assert "pip install -r requirements-cluster.txt" in said


def test_the_ordinary_engine_imports_neither_ray_nor_the_code_for_it() -> None:
    code = (
        "import sys\nsys.modules['ray'] = sys.modules['experiments.cluster'] = None\n"  # an import is an error now
        "from experiments.making.engines import EngineOptions, build_engine\n"
        "print(type(build_engine(EngineOptions(workers=3))).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert done.stdout.strip() == LocalEngine.__name__


def test_nothing_outside_the_cluster_imports_it() -> None:
    """It is a leaf: one name in a string, in the one place where an engine is chosen, leads to it."""
    experiments = REPOSITORY / "experiments"
    importing = [
        str(path.relative_to(experiments))
        for path in sorted(experiments.rglob("*.py"))
        if path.parent.name != "cluster"
        and re.search(r"^\s*(from|import) experiments\.cluster", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    ]
    assert importing == []


def test_a_run_that_was_made_while_a_worker_started_is_not_made_again(tmp_path: Path) -> None:
    run = tiny_run(tmp_path / "cache")
    before = record_mark(run.folder(tmp_path))
    record = make(run, tmp_path) / "run.json"  # by another process, between the question and the worker's start
    written = record.stat()
    assert make_in_worker(run, tmp_path, seen=before) == Skipped()
    assert record.stat() == written
    assert isinstance(make_in_worker(run, tmp_path, seen=record_mark(run.folder(tmp_path))), Finished)
