"""What the Dockerfile does, without Docker: clean packages, its folders, its command, its health."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
TIME_TO_LOAD = 180


def copied() -> list[str]:
    """The files and folders of the repository that the image holds."""
    return [
        name for names in re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, flags=re.MULTILINE) for name in names.split()
    ]


def test_the_dockerfile_copies_what_is_there_and_starts_the_service() -> None:
    assert {"data_modules", "lightning_modules", "experiments", "requirements-serve.txt"} <= set(copied())
    assert all((REPOSITORY / name).exists() for name in copied())
    assert 'ENTRYPOINT ["python", "-m", "experiments.serve"]' in DOCKERFILE


@pytest.mark.stress
def test_the_steps_of_the_dockerfile_give_a_service_that_is_healthy(run: Path, tmp_path: Path) -> None:
    application, environment = tmp_path / "app", tmp_path / "venv"
    for name in copied():
        source, target = REPOSITORY / name, application / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    (torch,) = re.findall(r"^torch==.*$", (REPOSITORY / "requirements.txt").read_text(), flags=re.MULTILINE)
    for wanted in (["--no-deps", torch], ["-r", "requirements-serve.txt"]):
        subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], cwd=application, check=True)
    log = tmp_path / "log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [python, "-m", "experiments.serve", run, "--port", "0"],
            cwd=application,
            stderr=stderr,
            env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        )
    try:
        deadline = time.monotonic() + TIME_TO_LOAD
        while "startup complete" not in log.read_text() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        found = re.search(r"at (http://[\d.:]+),", log.read_text())
        assert found and process.poll() is None, log.read_text()
        for _ in range(100):  # the port opens a moment after the service has started
            try:
                with urllib.request.urlopen(f"{found[1]}/health", timeout=10) as answer:
                    assert answer.status == 200
                    break
            except ConnectionRefusedError:
                time.sleep(0.1)
        else:
            raise AssertionError("the port did not open")
    finally:
        process.terminate()
        assert process.wait(60) == 0
