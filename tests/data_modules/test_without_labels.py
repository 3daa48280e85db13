"""A corpus of text alone is cut, encoded and batched; only a task that needs classes refuses it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from datasets import Dataset, DatasetDict

from data_modules.cleaning.prepared import PreparedCorpus, prepare
from data_modules.config import DataConfig
from data_modules.describe import describe
from data_modules.errors import DataError
from data_modules.labelled_text import TextDataModule
from data_modules.portable import carried_folder, pack_text, unpack_text
from data_modules.sources.source import SPLITS

TEXTS = [f"sentence number {n} of chapter {n // 5}" for n in range(100)]


class RowsOfText(TextDataModule):
    labels_required = False


def settings_of(kind: str, folder: Path) -> dict[str, Any]:
    frame = pd.DataFrame({"text": TEXTS, "chapter": [f"c{n // 5}" for n in range(100)]})
    path = folder / f"rows.{kind}"
    settings = {"corpus": kind, "train_file": str(path), "label_column": None, "near_duplicate_threshold": None}
    match kind:
        case "csv":
            frame.to_csv(path, index=False)
        case "jsonl":
            path.write_text("\n".join(json.dumps(row) for row in frame.to_dict("records")))
        case "parquet":
            frame.to_parquet(path)
        case "folder":
            DatasetDict(train=Dataset.from_pandas(frame)).save_to_disk(path)
            settings |= {"corpus": str(path), "train_file": None}
    return settings


@pytest.fixture(params=["csv", "jsonl", "parquet", "folder"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    return settings_of(request.param, tmp_path)


def rows(corpus: PreparedCorpus) -> list[str]:
    return [text for name in SPLITS for text in corpus.splits[name]["text"][:]]


def test_every_row_is_in_one_split_and_the_cut_is_seeded(settings: dict[str, Any]) -> None:
    corpus = prepare(DataConfig(**settings))
    assert sorted(rows(corpus)) == sorted(TEXTS)
    assert [len(corpus.splits[name]) for name in SPLITS] == [80, 10, 10]
    assert corpus.class_names == () and corpus.splits["train"].column_names == ["text"]
    assert corpus.report["splits"]["test"] == "cut, seed 0"
    other = prepare(DataConfig(**settings | {"split_seed": 1}))
    assert other.fingerprint == corpus.fingerprint and other.split_hash != corpus.split_hash


def test_groups_stay_together_without_labels(settings: dict[str, Any]) -> None:
    corpus = prepare(DataConfig(**settings | {"group_column": "chapter", "test_fraction": 0.2}))
    groups = [set(corpus.splits[name]["group"][:]) for name in SPLITS]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 20
    assert len(corpus.splits["test"]) == 20
    assert corpus.report["splits"]["test"] == "cut, by group, seed 0"


def test_repeated_texts_go_and_rows_are_thinned(settings: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "twice.csv"
    pd.DataFrame({"text": TEXTS + TEXTS[:30]}).to_csv(path, index=False)
    config = DataConfig(**settings | {"corpus": "csv", "train_file": str(path), "max_train_rows": 7})
    corpus = prepare(config)
    assert corpus.report["duplicates"] == {"train_contradictory_labels": 0, "train_repeated": 30}
    assert len(corpus.splits["train"]) == 7


def test_batches_have_no_labels_and_facts_no_classes(tmp_path: Path) -> None:
    data = RowsOfText(**settings_of("csv", tmp_path), batch_size=16)
    assert data.facts.class_names == data.facts.class_counts == () and data.facts.train_rows == 80
    batches = list(data.train_dataloader())
    assert len(batches) == data.facts.steps_per_epoch == 5
    assert all(set(batch) == {"input_ids", "attention_mask", "rows"} for batch in batches)
    assert sorted(row for batch in batches for row in batch["rows"].tolist()) == list(range(80))


def test_a_task_that_needs_classes_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the corpus rows has no labels.*data.label_column"):
        _ = TextDataModule(**settings_of("csv", tmp_path)).facts


def test_a_labels_column_that_is_missing_is_still_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'label'.*; null reads text without labels"):
        prepare(DataConfig(**settings_of("csv", tmp_path) | {"label_column": "label"}))


def test_an_unlabelled_text_is_described_and_carried(tmp_path: Path) -> None:
    config = DataConfig(**settings_of("csv", tmp_path))
    described = describe(config, examples=2)
    assert described.classes == {name: {} for name in SPLITS} and len(described.examples["train"]) == 2
    packed = pack_text(config)
    unpack_text(packed.digest, packed.archive, tmp_path / "there")
    there = RowsOfText(**vars(config) | {"cache_dir": str(carried_folder(packed.digest, tmp_path / "there"))})
    assert there.corpus.fingerprint == packed.fingerprint and there.facts.train_rows == 80
