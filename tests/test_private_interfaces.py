"""The private parts of other people's packages that we use. After an upgrade this test says which of them moved.

They are here because no public way does the same; each line names the file of ours that uses it.
"""

from __future__ import annotations

import ast
import inspect
from importlib import import_module
from pathlib import Path

import pytest
from lightning.pytorch.strategies import ModelParallelStrategy

REPOSITORY = Path(__file__).resolve().parent.parent
PRIVATE = [
    ("lightning.pytorch.cli", "LightningCLI._parse_ckpt_path", ["self"], "experiments/train.py"),
    ("lightning.pytorch.cli", "LightningCLI._set_seed", ["self"], "experiments/train.py"),
    ("lightning.pytorch.cli", "LightningCLI._get", ["self", "config", "key", "default"], "experiments/train.py"),
    (
        "lightning.pytorch.strategies.launchers.multiprocessing",
        "_MultiProcessingLauncher",
        ["strategy", "start_method"],
        "experiments/runs/training.py",
    ),
    (
        "torch.utils.tensorboard.writer",
        "SummaryWriter._get_file_writer",
        ["self"],
        "experiments/runs/conclude.py",
    ),
    ("torch._inductor.cpp_builder", "get_cpp_compiler", [], "lightning_modules/training/compilers.py"),
]


@pytest.mark.parametrize(("module", "name", "arguments", "user"), PRIVATE, ids=lambda value: str(value)[:40])
def test_what_we_use_is_still_there(module: str, name: str, arguments: list[str], user: str) -> None:
    found = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    assert list(inspect.signature(found).parameters)[: len(arguments)] == arguments
    assert name.rpartition(".")[2] in (REPOSITORY / user).read_text(encoding="utf-8"), f"{user} no longer uses it"


def test_the_sharding_strategy_still_reads_the_size_that_we_set() -> None:
    """``lightning_modules/training/processes.py`` sets it to all processes, since there is no public way."""
    assert "self._data_parallel_size" in inspect.getsource(ModelParallelStrategy)


def private_imports(path: Path) -> set[str]:
    """Return the private modules and names that a file imports from other packages."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names = {alias.name for alias in node.names}
        else:
            continue
        found |= {name for name in names if any(part.startswith("_") for part in name.split(".") if part[:2] != "__")}
    return {name for name in found if not name.startswith(("data_modules", "lightning_modules", "experiments"))}


def test_no_other_private_name_is_imported() -> None:
    listed = {f"{module}.{name}" for module, name, *_ in PRIVATE}
    files = [
        path
        for folder in ("data_modules", "lightning_modules", "experiments")
        for path in (REPOSITORY / folder).rglob("*.py")
    ]
    assert {name for path in files for name in private_imports(path)} <= listed
