from __future__ import annotations

import os
from pathlib import Path

import pytest

from data_modules.cleaning.prepared import PreparedCorpus, prepare
from data_modules.config import DataConfig

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test fills a cache of its own."""
    monkeypatch.setenv("RESNORM_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def docstrings_config(tmp_path_factory: pytest.TempPathFactory) -> DataConfig:
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # that of all test processes, so that the corpus is built once
    return DataConfig(cache_dir=str(folder / "docstrings"))


@pytest.fixture(scope="session")
def docstrings(docstrings_config: DataConfig) -> PreparedCorpus:
    """The embedded corpus, built once for all tests without the network."""
    return prepare(docstrings_config)


@pytest.fixture(scope="session")
def corpora_folder() -> Path:
    """The folder of real development corpora, where there is one."""
    folder = Path(os.environ.get("RESNORM_CORPORA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no development corpora here")
    return folder
