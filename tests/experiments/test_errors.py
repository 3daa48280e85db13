"""Endings of a program: one line and a status, also for Ctrl-C at an awkward moment."""

import os
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

with readable_errors():
    {interrupted}
"""


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
    (tmp_path / "program.py").write_text(PROGRAM.format(interrupted=interrupted))
    done = subprocess.run(
        [sys.executable, "-m", "program"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPOSITORY)},
    )
    assert done.returncode == 130
    assert done.stderr.strip().count("\n") == 0 and "interrupted" in done.stderr


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
