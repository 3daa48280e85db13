"""The service as processes: a worker that is killed comes back, and a signal ends all of them well."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("fastapi", reason="requirements-serve.txt is not installed")

REPOSITORY = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.slow
TIME_TO_LOAD = 180
"""Seconds that a busy machine may take to start three processes."""


def ask(address: str, path: str = "/predict", **body: Any) -> dict[str, Any]:
    """One request over a connection of its own; a refused connection is tried again, as any client would."""
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(address + path, data, {"content-type": "application/json"})
    for _ in range(100):
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return dict(json.load(answer))
        except (ConnectionError, urllib.error.URLError):
            time.sleep(0.05)
    raise AssertionError(f"{path} was not answered")


def eventually(what: Callable[[], Any], seconds: float) -> Any:
    """The first true answer of ``what`` within this time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not happen in time")


@pytest.fixture
def service(run: Path, tmp_path: Path) -> Iterator[tuple[str, psutil.Process, Path]]:
    """A service of two workers: its address, its first process and its log."""
    log = tmp_path / "log"
    command = [sys.executable, "-m", "experiments.serve", str(run), "--port", "0", "--workers", "2"]
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, cwd=REPOSITORY, stderr=stderr, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        found = eventually(lambda: re.search(r"at (http://[\d.:]+),", log.read_text()), TIME_TO_LOAD)
        eventually(lambda: log.read_text().count("startup complete") == 2, TIME_TO_LOAD)
        yield found[1], psutil.Process(process.pid), log
    finally:
        process.kill()
        process.wait()


def workers_of(process: psutil.Process) -> list[psutil.Process]:
    return [child for child in process.children() if "spawn_main" in " ".join(child.cmdline())]


def test_a_killed_worker_is_replaced_while_the_other_answers_and_a_signal_ends_all(
    service: tuple[str, psutil.Process, Path],
) -> None:
    address, process, log = service
    before = {worker.pid for worker in workers_of(process)}
    assert len(before) == 2
    label = ask(address, text="MAX 1 2 ]")["answers"][0]["label"]
    os.kill(min(before), signal.SIGKILL)
    for _ in range(20):
        assert ask(address, text="MAX 1 2 ]")["answers"][0]["label"] == label
    eventually(lambda: log.read_text().count("startup complete") == 3, TIME_TO_LOAD)
    after = {worker.pid for worker in workers_of(process)}
    assert len(after) == 2 and len(after & before) == 1
    with urllib.request.urlopen(f"{address}/metrics", timeout=30) as answer:
        counted = re.search(r'^resnorm_texts_total\{run=".*"\} (\d+)', answer.read().decode(), flags=re.MULTILINE)
    assert counted and float(counted[1]) == 21  # of all processes, the dead one too
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert not [worker for worker in after if psutil.pid_exists(worker)]
    assert "Traceback" not in log.read_text()
