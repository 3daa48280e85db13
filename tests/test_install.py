"""An installed copy works from another folder, with its data."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("data_modules", "lightning_modules", "experiments")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an installation; it is built from a copy, since a build writes into its source."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("target")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    done = subprocess.run(
        [*pip, "--no-deps", "--no-build-isolation", "--target", str(target), str(source)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return target


def test_a_backbone_comes_from_the_installed_copy(installed: Path, tmp_path: Path) -> None:
    code = """
    import sys, torch, lightning_modules
    from lightning_modules import build_backbone
    backbone = build_backbone("deepnorm", vocabulary_size=50, layers=2, width=16)
    print(tuple(backbone(torch.zeros(2, 7, dtype=torch.long), causal=True).shape), "lightning" in sys.modules)
    print(lightning_modules.__file__)
    """
    said = subprocess.run(
        [sys.executable, "-c", dedent(code)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
    )
    assert said.returncode == 0, said.stderr
    shape, place = said.stdout.splitlines()
    assert shape == "(2, 7, 16) False"
    assert Path(place).is_relative_to(installed)


def test_every_file_of_the_packages_is_installed(installed: Path) -> None:
    for package in PACKAGES:
        files = {path.relative_to(ROOT) for path in (ROOT / package).rglob("*") if path.is_file()}
        ours = {path for path in files if "__pycache__" not in path.parts}
        assert ours - {path.relative_to(installed) for path in (installed / package).rglob("*")} == set()
        assert Path(package, "py.typed") in ours
