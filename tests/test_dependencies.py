"""The house as a whole: dependencies run one way, leaves stay leaves, and no name means two things."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("data_modules", "lightning_modules", "experiments")
LEAVES = ("studies", "cluster", "benchmark", "serving")
"""Folders of experiments that nothing else imports."""
UNIX_ONLY = ("fcntl", "grp", "posix", "pwd", "resource", "termios")


def name_of(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {
    name_of(path): ast.parse(path.read_text(encoding="utf-8"))
    for package in PACKAGES
    for path in sorted((REPOSITORY / package).rglob("*.py"))
}


def imported(tree: ast.Module) -> set[str]:
    """Return the modules of this house that a source imports, inside functions too; imports for types count."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inner & FILES.keys()) | (set() if inner <= FILES.keys() else {node.module})
    return found & FILES.keys()


IMPORTS = {name: imported(tree) for name, tree in FILES.items()}


def test_there_is_no_circle_of_imports_even_inside_functions() -> None:
    assert sum(map(len, IMPORTS.values())) > 500
    TopologicalSorter(IMPORTS).prepare()  # raises CycleError, which names the circle


def test_packages_depend_on_each_other_in_one_direction() -> None:
    for name, others in IMPORTS.items():
        package = name.partition(".")[0]
        allowed = set(PACKAGES) if package == "experiments" else {package}
        assert {other.partition(".")[0] for other in others} <= allowed, name


@pytest.mark.parametrize("leaf", LEAVES)
def test_nothing_imports_a_leaf(leaf: str) -> None:
    folder = f"experiments.{leaf}"
    inside = {name for name in FILES if name == folder or name.startswith(f"{folder}.")}
    assert inside
    verbs = {f"experiments.{verb}" for verb in ("reproduce", "probe", "serve")}  # which start a leaf
    assert [name for name in FILES.keys() - inside - verbs if IMPORTS[name] & inside] == []


def test_no_two_classes_share_a_name() -> None:
    names = Counter(node.name for tree in FILES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    assert [name for name, count in names.items() if count > 1] == []


BLOCKED = f"""
import builtins, importlib, sys
plain = builtins.__import__
def guarded(name, globals=None, *rest, **named):
    importer = (globals or {{}}).get("__name__", "")
    if name.partition(".")[0] in {UNIX_ONLY!r} and importer.partition(".")[0] in {PACKAGES!r}:
        raise ImportError(f"{{importer}} imports {{name}}, which Windows lacks")
    return plain(name, globals, *rest, **named)
builtins.__import__ = guarded
for module in sys.argv[1:]:
    importlib.import_module(module)
"""


def test_every_module_can_be_imported_without_what_only_unix_has() -> None:
    optional = tuple(f"experiments.{name}" for name in ("cluster", "benchmark.peers", "serving"))  # need more packages
    modules = [name for name in FILES if not name.startswith(optional) and not name.endswith("__main__")]
    command = [sys.executable, "-c", BLOCKED, *modules]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
