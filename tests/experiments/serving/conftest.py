"""A tiny run, made once for all tests of the service."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_runs import make, tiny_run


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on listops."""
    place = tmp_path_factory.mktemp("served")
    return make(tiny_run(place / "cache"), place / "results")
