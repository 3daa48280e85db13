"""The grid `smoke`, end to end as a person runs it: undisturbed, and interrupted, killed half-way and resumed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

REPOSITORY = Path(__file__).parent.parent.parent
TABLES = ("summary.csv", "per_class.csv", "tuning.csv", "records.jsonl.gz", "predictions.parquet", "report.md")

pytestmark = pytest.mark.slow


def command(results: Path, workers: int) -> list[str]:
    options = ["--results", str(results), "--workers", str(workers)]
    return [sys.executable, "-m", "experiments.ablation", "run", "smoke", *options]


def start(results: Path, workers: int = 2) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command(results, workers),
        cwd=REPOSITORY,
        env={**os.environ, "GIT_DIR": os.devnull},  # a commit or an edit during the test would stand in the records
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # in the background of a shell it is ignored
    )


def finish(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    stdout, stderr = process.communicate(timeout=300)
    return process.returncode, stdout, stderr


def records(results: Path) -> list[Path]:
    return sorted(results.glob("runs/smoke/listops/*/*/*/run.json"))


def wait_for(condition: object, process: "subprocess.Popen[str]") -> None:
    """Wait until `condition()` holds; the process must not end before."""
    assert callable(condition)
    deadline = time.monotonic() + 240
    while not condition():
        assert process.poll() is None, "the run ended before it could be disturbed"
        assert time.monotonic() < deadline
        time.sleep(0.05)


def workers_of(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    """Return the worker processes, which are started by `spawn_main`."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def tables(results: Path) -> dict[str, bytes]:
    return {name: (results / "local" / "smoke" / "listops" / name).read_bytes() for name in TABLES}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    results = tmp_path_factory.mktemp("undisturbed")
    code, stdout, stderr = finish(start(results))
    assert code == 0, stderr
    assert "tensorboard --logdir" in stdout
    assert stdout.rstrip().endswith(str(results / "local" / "smoke" / "listops" / "report.md"))
    assert stderr == ""
    yield results


def interrupt(process: "subprocess.Popen[str]", results: Path) -> None:
    """Press Ctrl-C after the first run: one line, no worker left, finished runs untouched."""
    wait_for(lambda: len(records(results)) >= 1, process)
    workers = workers_of(process)
    before = {path: path.read_bytes() for path in records(results)}
    os.killpg(process.pid, signal.SIGINT)
    code, _, stderr = finish(process)
    assert code == 130
    assert stderr.strip().count("\n") == 0 and "interrupted" in stderr
    assert all(path.read_bytes() == content for path, content in before.items())
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert alive == []


def kill(process: "subprocess.Popen[str]", results: Path) -> None:
    """Kill all processes half-way, so that nothing can be tidied up."""
    wait_for(lambda: len(records(results)) >= 4, process)
    workers = workers_of(process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    psutil.wait_procs(workers, timeout=30)


def test_interrupted_then_killed_half_way_it_ends_with_the_same_tables_by_fewer_workers(
    undisturbed: Path, tmp_path: Path
) -> None:
    interrupt(start(tmp_path), tmp_path)
    kill(start(tmp_path), tmp_path)
    assert 4 <= len(records(tmp_path)) < len(records(undisturbed))
    code, _, stderr = finish(start(tmp_path, workers=1))  # how many share a machine is a matter of placement
    assert code == 0, stderr
    assert tables(tmp_path) == tables(undisturbed)


def test_the_tables_hold_every_run(undisturbed: Path) -> None:
    report = tables(undisturbed)["report.md"].decode()
    for title in ("Pre-LN", "Plain", "TF-IDF + logistic regression"):
        assert title in report
    assert len(records(undisturbed)) == 4 + 5  # tuning trials; two conditions with two seeds, and the baseline
