"""Endings of a program: one line and a status, also for Ctrl-C at an awkward moment."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.errors import ExperimentError, readable_errors

REPOSITORY = Path(__file__).parent.parent.parent
PROGRAM = """
import signal
from experiments.errors import readable_errors

signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background of a shell it is ignored
{before}

with readable_errors():
    {interrupted}
"""


def run_program(body: str, folder: Path, before: str = "") -> "subprocess.CompletedProcess[str]":
    (folder / "program.py").write_text(PROGRAM.format(interrupted=body, before=before))
    return subprocess.run(
        [sys.executable, "-m", "program"],
        capture_output=True,
        text=True,
        cwd=folder,
        env={"PYTHONPATH": str(REPOSITORY)},
    )


@pytest.mark.parametrize(
    "interrupted",
    [
        "signal.raise_signal(signal.SIGINT)",
        # CPython dies by the signal after this one, although the interrupt was handled.
        "exec('signal.raise_signal(signal.SIGINT)')",
    ],
    ids=["plain", "inside-exec"],
)
def test_ctrl_c_ends_with_one_line_and_status_130(interrupted: str, tmp_path: Path) -> None:
    done = run_program(interrupted, tmp_path)
    assert done.returncode == 130
    assert done.stderr.strip().count("\n") == 0 and "interrupted" in done.stderr


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="the system has no such signals")
@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_scheduler_or_a_closing_terminal_ends_it_with_one_line(name: str, status: int, tmp_path: Path) -> None:
    as_usual = f"signal.signal(signal.{name}, signal.SIG_DFL)  # a suite under nohup ignores it"
    done = run_program(f"signal.raise_signal(signal.{name})", tmp_path, as_usual)
    assert done.returncode == status
    assert done.stderr.strip() == f"ended by {name}; finished runs are kept, and the same command goes on from there"


def test_a_signal_that_is_ignored_or_handled_stays_so(tmp_path: Path) -> None:
    before = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    done = run_program(f"{before}; signal.raise_signal(signal.SIGTERM); print('went on')", tmp_path, before)
    assert (done.returncode, done.stdout) == (0, "went on\n")


def test_a_message_cannot_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), readable_errors():
        raise ExperimentError("class \x1b]0;title\x07 is not known")
    assert capsys.readouterr().err == "error: class \\x1b]0;title\\x07 is not known\n"


def test_an_interrupt_while_a_verb_is_imported_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "jsonargparse").mkdir()
    (tmp_path / "jsonargparse" / "__init__.py").write_text("raise KeyboardInterrupt")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "experiments.predict", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=REPOSITORY)
    assert (done.returncode, done.stderr) == (130, "\ninterrupted before anything began\n")
