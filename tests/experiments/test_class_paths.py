"""Class paths are imports, and imports run code: a file that is read never starts one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from experiments.planning.parser import allow_imports

REPOSITORY = Path(__file__).resolve().parents[2]
HELPER = """
from pathlib import Path
Path("{mark}").touch()
from lightning.pytorch import Callback
class Evil(Callback): ...
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "helper.py").write_text(HELPER.format(mark=tmp_path / "ran"))
    return tmp_path


def run(place: Path, *command: object) -> subprocess.CompletedProcess[str]:
    """Run a verb where a helper module lies in reach of an import."""
    environment = {
        "PYTHONPATH": f"{REPOSITORY}:{place}",
        "PATH": "/usr/bin:/bin",
        "RESNORM_CACHE": str(place / "cache"),
    }
    arguments = [sys.executable, "-m", *map(str, command)]
    return subprocess.run(arguments, cwd=place, env=environment, capture_output=True, text=True)


def written(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content))
    return path


EVIL = {"class_path": "helper.Evil"}
GRID = {"conditions": ["pre_ln"], "seeds": 1, "data": {"corpus": "listops"}}
COMMANDS: dict[str, Callable[[Path], tuple[object, ...]]] = {
    "a grid's data": lambda place: (
        "experiments.ablation",
        "plan",
        written(place / "grid.yaml", {**GRID, "data": {"corpus": "docstrings", "docstrings": EVIL}}),
    ),
    "a grid's model": lambda place: (
        "experiments.ablation",
        "plan",
        written(place / "grid.yaml", {**GRID, "model": {"width": EVIL}}),
    ),
    "a corpus's configuration": lambda place: (
        "experiments.corpus",
        "describe",
        "--config",
        written(place / "config.yaml", {"data": {"listops": EVIL}}),
    ),
    "a run's data": lambda place: (
        "experiments.predict",
        written(place / "run" / "config.yaml", {"data": {"docstrings": EVIL}}).parent,
        "--text",
        "a",
    ),
    "a configuration's callbacks": lambda place: (
        "experiments.train",
        "fit",
        "--config",
        written(place / "config.yaml", {"trainer": {"callbacks": [EVIL]}}),
    ),
    "a flag's callback": lambda place: ("experiments.train", "fit", "--trainer.callbacks+=helper.Evil"),
    "a flag's section": lambda place: ("experiments.train", "fit", "--data.docstrings", "helper.Evil"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_class_path_in_what_is_read_imports_nothing(name: str, place: Path) -> None:
    done = run(place, *COMMANDS[name](place))
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert not (place / "ran").exists()


def test_a_person_may_allow_an_import_on_the_command_line(place: Path) -> None:
    config = written(place / "config.yaml", {"trainer": {"callbacks": [EVIL]}})
    refused = run(place, "experiments.train", "fit", "--config", config)
    assert "--allow-import helper" in refused.stderr
    flags = ("--print_config", "--allow-import", "helper", "--config", config)
    assert run(place, "experiments.train", "fit", *flags).returncode == 0
    assert (place / "ran").exists()


def test_a_configuration_cannot_allow_itself(place: Path) -> None:
    config = written(place / "config.yaml", {"allow-import": "helper", "trainer": {"callbacks": [EVIL]}})
    assert run(place, "experiments.train", "fit", "--config", config).returncode == 2
    assert not (place / "ran").exists()


def test_the_option_is_taken_off_the_command_line() -> None:
    assert allow_imports(["fit", "--allow-import=lightning.pytorch", "--a", "1"]) == ["fit", "--a", "1"]
