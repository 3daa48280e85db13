"""The folders of the data package build on each other like floors, imports within functions included."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "data_modules"
FLOORS = ("sources", "cleaning", "tokens", "batches")
"""Folders from the ground up: a module imports from its own floor and those below."""


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


@pytest.mark.parametrize("floor", FLOORS)
def test_no_floor_imports_from_the_ones_above(floor: str) -> None:
    above = tuple(f"data_modules.{other}" for other in FLOORS[FLOORS.index(floor) + 1 :])
    for name in MODULES:
        if name.startswith(f"data_modules.{floor}"):
            assert not {other for other in imported(MODULES[name]) if other.startswith(above)}, name
