"""Data sets of the Hub, with and without network."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import datasets
import pytest

from data_modules.cleaning.prepared import prepare
from data_modules.config import DataConfig
from data_modules.errors import DataError
from data_modules.sources.online import is_cached

REPOSITORY = Path(__file__).resolve().parents[3]
CLOSED = "http://127.0.0.1:9"
PROGRAM = """
import sys
from experiments import corpus
try:
    corpus.main(["describe", "--data.corpus", "nobody/nothing"])
finally:
    print(*sorted({"datasets", "pandas", "lightning", "torch"} & set(sys.modules)))
"""


def test_a_hub_id_without_network_fails_soon_and_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", CLOSED)
    started = time.monotonic()
    with pytest.raises(DataError, match="hf download nobody/nothing --repo-type dataset"):
        prepare(DataConfig(corpus="nobody/nothing"))
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("endpoint", [CLOSED, "http://no-such-host.invalid"])
def test_the_answer_without_network_waits_for_no_heavy_library(endpoint: str, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=environment | {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path)},
    )
    assert done.returncode == 2
    assert "hf download nobody/nothing" in done.stderr and done.stderr.strip().count("\n") == 0
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("kept", ["datasets/owner___name", "hub/datasets--Owner--Name"])
def test_a_copy_on_this_machine_is_seen(kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_DATASETS_CACHE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert not is_cached("Owner/Name")
    (tmp_path / kept).mkdir(parents=True)
    assert is_cached("Owner/Name") and not is_cached("Owner/Names")


def test_what_the_libraries_kept_is_tried_without_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("data_modules.sources.hub.is_reachable", lambda: False)
    asked = []
    monkeypatch.setattr("data_modules.sources.hub.is_cached", lambda name: asked.append(name) or True)
    with pytest.raises(DataError, match="hf download nobody/nothing"):
        prepare(DataConfig(corpus="nobody/nothing"))  # what was kept is no such data set after all
    assert asked == ["nobody/nothing"]


def test_parquet_files_of_the_hub_that_number_their_classes_differently_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("data_modules.sources.hub.is_reachable", lambda: True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "datasets--some--corpus" / "snapshots" / "0123abc"
    snapshot.mkdir(parents=True)
    splits = {}
    for split, names in {"train": ["a", "b"], "test": ["b", "a"]}.items():
        features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)})
        splits[split] = datasets.Dataset.from_dict({"text": ["x", "y"], "label": [0, 1]}, features=features)
        splits[split].to_parquet(snapshot / f"{split}.parquet")
    urls = {split: [f"hf://datasets/some/corpus@0123abc/{split}.parquet"] for split in splits}
    builder = SimpleNamespace(config=SimpleNamespace(data_files=urls))
    monkeypatch.setattr("datasets.load_dataset_builder", lambda *names, **options: builder)
    monkeypatch.setattr("datasets.load_dataset", lambda *names, **options: datasets.DatasetDict(splits))
    with pytest.raises(DataError, match=r"'some/corpus' numbers its classes differently in test\.parquet"):
        prepare(DataConfig(corpus="some/corpus"))
