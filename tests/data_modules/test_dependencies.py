"""Modules of the data package import each other in one direction, inside functions too."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "data_modules"
FLOORS = ("sources", "cleaning", "tokens", "batches")
"""Folders from the ground up: a module imports from its own floor and those below."""
UNIX_ONLY = {"fcntl", "resource", "posix", "pwd", "grp", "termios"}


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def imported(tree: ast.Module) -> set[str]:
    """Return every module that a source names in an import, wherever in the file."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            modules = inner & MODULES.keys()
            found |= modules
            if modules != inner:  # a name within the module itself
                found.add(node.module)
    return found


def test_there_is_no_circle() -> None:
    graph = {name: imported(tree) & MODULES.keys() for name, tree in MODULES.items()}
    assert sum(map(len, graph.values())) > 50
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_a_circle_in_functions_would_be_seen() -> None:
    first, second = ("def f():\n    from data_modules import cache", "import data_modules.errors")
    assert imported(ast.parse(first)) == {"data_modules.cache"}
    assert imported(ast.parse(second)) == {"data_modules.errors"}


@pytest.mark.parametrize("floor", FLOORS)
def test_no_floor_imports_from_the_ones_above(floor: str) -> None:
    above = tuple(f"data_modules.{other}" for other in FLOORS[FLOORS.index(floor) + 1 :])
    for name in MODULES:
        if name.startswith(f"data_modules.{floor}"):
            assert not {other for other in imported(MODULES[name]) if other.startswith(above)}, name


@pytest.mark.parametrize("name", MODULES)
def test_nothing_that_one_operating_system_lacks_is_imported(name: str) -> None:
    assert not imported(MODULES[name]) & UNIX_ONLY


@pytest.mark.parametrize("name", MODULES)
def test_neither_the_model_nor_the_experiments_are_imported(name: str) -> None:
    assert not {other.split(".")[0] for other in imported(MODULES[name])} & {"lightning_modules", "experiments"}
