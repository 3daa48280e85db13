"""Dependencies run one way, and the network itself is pure PyTorch."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import lightning_modules

PACKAGE = Path(lightning_modules.__file__).parent
TORCH_FREE = (
    *("__init__.py", "config.py", "errors.py", "facts.py", "pretrained.py"),
    *(f"schemes/{name}.py" for name in ("__init__", "composing", "families", "place", "placements", "variants")),
)


def imported(path: Path) -> set[str]:
    """Top-level packages that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_models_know_neither_data_nor_experiments(path):
    assert not imported(path) & {"data_modules", "experiments"}


PURE = sorted(path for folder in ("network", "schemes", "probes") for path in (PACKAGE / folder).glob("*.py"))


@pytest.mark.parametrize("path", PURE, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_network_and_probes_are_pure_pytorch(path):
    assert not imported(path) & {"lightning", "torchmetrics", "pytorch_lightning"}


@pytest.mark.parametrize("name", TORCH_FREE)
def test_configuration_imports_no_torch(name):
    assert not imported(PACKAGE / name) & {"torch", "lightning", "torchmetrics", "numpy"}
