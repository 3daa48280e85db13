"""Class paths are imports, and imports run code: a file that is read never starts one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from experiments import ablation, corpus, predict, train
from experiments.planning.parser import allow_imports

REPOSITORY = Path(__file__).resolve().parents[2]
HELPER = """
from pathlib import Path
Path("{mark}").touch()
from lightning.pytorch import Callback
class Evil(Callback): ...
"""


Refusal = Callable[..., str]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a helper module, in reach of an import."""
    (tmp_path / "helper.py").write_text(HELPER.format(mark=tmp_path / "ran"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RESNORM_CACHE", str(tmp_path / "cache"))
    yield tmp_path
    sys.modules.pop("helper", None)


def written(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content))
    return path


EVIL = {"class_path": "helper.Evil"}
GRID = {"conditions": ["pre_ln"], "seeds": 1, "data": {"corpus": "listops"}}
COMMANDS: dict[str, Callable[[Path], tuple[object, ...]]] = {
    "a grid's data": lambda place: (
        ablation.main,
        "plan",
        written(place / "grid.yaml", {**GRID, "data": {"corpus": "docstrings", "docstrings": EVIL}}),
    ),
    "a grid's model": lambda place: (
        ablation.main,
        "plan",
        written(place / "grid.yaml", {**GRID, "model": {"width": EVIL}}),
    ),
    "a corpus's configuration": lambda place: (
        corpus.main,
        "describe",
        "--config",
        written(place / "config.yaml", {"data": {"listops": EVIL}}),
    ),
    "a run's data": lambda place: (
        predict.main,
        written(place / "run" / "config.yaml", {"data": {"docstrings": EVIL}}).parent,
        "--text",
        "a",
    ),
    "a configuration's callbacks": lambda place: (
        train.main,
        "fit",
        "--config",
        written(place / "config.yaml", {"trainer": {"callbacks": [EVIL]}}),
    ),
    "a flag's callback": lambda place: (train.main, "fit", "--trainer.callbacks+=helper.Evil"),
    "a flag's section": lambda place: (train.main, "fit", "--data.docstrings", "helper.Evil"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_class_path_in_what_is_read_imports_nothing(name: str, place: Path, fails_with_one_line: Refusal) -> None:
    fails_with_one_line(*COMMANDS[name](place))
    assert not (place / "ran").exists()


def test_a_person_may_allow_an_import_on_the_command_line(place: Path, fails_with_one_line: Refusal) -> None:
    config = written(place / "config.yaml", {"trainer": {"callbacks": [EVIL]}})
    assert "--allow-import helper" in fails_with_one_line(train.main, "fit", "--config", config)
    assert not (place / "ran").exists()
    flags = ("--print_config", "--allow-import", "helper", "--config", config)
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{place}"}
    command = [
        sys.executable,
        "-m",
        "experiments.train",
        "fit",
        *map(str, flags),
    ]  # a process: what is allowed stays so
    assert subprocess.run(command, cwd=place, env=environment, capture_output=True).returncode == 0
    assert (place / "ran").exists()


def test_a_configuration_cannot_allow_itself(place: Path, fails_with_one_line: Refusal) -> None:
    config = written(place / "config.yaml", {"allow-import": "helper", "trainer": {"callbacks": [EVIL]}})
    fails_with_one_line(train.main, "fit", "--config", config)
    assert not (place / "ran").exists()


def test_the_option_is_taken_off_the_command_line() -> None:
    assert allow_imports(["fit", "--allow-import=lightning.pytorch", "--a", "1"]) == ["fit", "--a", "1"]
