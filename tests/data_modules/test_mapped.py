"""What lies in mapped files is what would lie in memory, and takes none."""

from __future__ import annotations

import mmap
import os
import re
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_modules.batches.batching import BatchOrder
from data_modules.cache import digest, digest_of_columns
from data_modules.cleaning.prepared import prepare
from data_modules.config import DataConfig
from data_modules.errors import DataError
from data_modules.mapped import GrowingArray, mapped_integers, mapped_permutation
from data_modules.sources import mapped_tables
from data_modules.sources.mapped_tables import chosen_rows, mapped_frame, pieces
from data_modules.tokens.encoding import PARTS, encode


def frame(rows: int) -> pd.DataFrame:
    texts = pd.Series([f"残差 row {n}" for n in range(rows)], dtype="str")
    return pd.DataFrame({"text": texts, "label": np.arange(rows) % 3})


@pytest.mark.parametrize("rows", [0, 1, 3, 7, 9])
def test_a_mapped_table_is_the_table(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped_tables, "PIECE", 3)
    stored = mapped_frame(pieces(frame(rows)))
    pd.testing.assert_frame_equal(stored, frame(rows))
    mask = np.arange(rows) % 2 == 1
    pd.testing.assert_frame_equal(chosen_rows(stored, mask), frame(rows)[mask].reset_index(drop=True))


def test_the_text_of_a_mapped_table_takes_no_memory() -> None:
    long = pd.DataFrame({"text": ["word " * 100_000] * 20, "label": range(20)})
    before = pa.total_allocated_bytes()
    stored = mapped_frame(pieces(long))
    thinned = chosen_rows(stored, np.arange(20) % 2 == 0)
    assert len(thinned["text"].iloc[0]) == 500_000
    assert pa.total_allocated_bytes() - before < 10_000


@pytest.mark.parametrize("length", [0, 1, 1000, 70_000])
def test_a_mapped_permutation_is_numpys(length: int) -> None:
    order = mapped_permutation(length, np.random.default_rng(5))
    np.testing.assert_array_equal(order, np.random.default_rng(5).permutation(length))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize("store", [lambda: mapped_integers(10_000_000), lambda: mapped_frame(pieces(frame(1_000)))])
def test_a_full_folder_for_temporary_files_is_named(
    store: Callable[[], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(tempfile, "TemporaryFile", partial(open, "/dev/full", "wb", buffering=0))
    with pytest.raises(DataError, match=f"cannot be written in {re.escape(str(tmp_path))} .*No space.*TMPDIR"):
        store()


def test_the_room_for_a_mapped_array_is_taken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def mapped(file: int, size: int, inner: type[mmap.mmap] = mmap.mmap) -> mmap.mmap:
        sizes.append(os.fstat(file))
        return inner(file, size)

    monkeypatch.setattr(mmap, "mmap", mapped)
    mapped_integers(500_000)
    assert sizes[0].st_size == 4_000_000 <= sizes[0].st_blocks * 512


@given(st.lists(st.lists(st.integers(-9, 9), max_size=30), max_size=8), st.sampled_from([np.int32, np.int64]))
def test_an_array_written_piece_by_piece_is_the_file_that_numpy_saves(parts, kind) -> None:
    arrays = [np.array(part, dtype=kind) for part in parts]
    with tempfile.TemporaryDirectory() as folder:
        grown, saved = Path(folder) / "grown.npy", Path(folder) / "saved.npy"
        with GrowingArray(grown, kind) as file:
            for array in arrays:
                file.append(array)
        np.save(saved, np.concatenate([np.empty(0, dtype=kind), *arrays]))
        assert grown.read_bytes() == saved.read_bytes()


@given(st.lists(st.text(max_size=5), max_size=30), st.integers(1, 7))
def test_the_digest_of_columns_is_that_of_their_lists(texts, at_a_time) -> None:
    labels = list(range(len(texts)))
    tables = {"train": {"text": texts, "label": labels}, "test": {"text": texts[:1], "label": labels[:1]}}
    series = {
        name: {column: pd.Series(values, dtype=object) for column, values in columns.items()}
        for name, columns in tables.items()
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("data_modules.cache.DIGESTED", at_a_time)
        assert digest_of_columns(("a", "b"), series) == digest(("a", "b"), tables)


def test_pieces_of_any_size_give_the_same_corpus_and_all_of_it_is_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.parquet"
    texts = pd.array([float(n) if n != 7 else None for n in range(200)], dtype="Int64")  # a gap in one piece of many
    pd.DataFrame({"text": texts, "label": np.arange(200) % 2, "group": np.arange(200) // 4}).to_parquet(path)
    settings = {"corpus": "parquet", "train_file": str(path), "group_column": "group", "shuffle_words": True}
    found = []
    for size in (1000, 17):
        for module in (
            "sources.mapped_tables",
            "sources.columns",
            "sources.files",
            "sources.separated",
            "cleaning.refine",
            "tokens.encoding",
        ):
            monkeypatch.setattr(f"data_modules.{module}.PIECE", size)
        config = DataConfig(cache_dir=str(tmp_path / str(size)), **settings)
        corpus = prepare(config)
        splits = encode(corpus, config).splits
        assert all(isinstance(getattr(split, part), np.memmap) for split in splits.values() for part in PARTS)
        found.append(
            (
                corpus.fingerprint,
                corpus.split_hash,
                {name: rows[:] for name, rows in corpus.splits.items()},
                {name: [getattr(split, part).tolist() for part in PARTS] for name, split in splits.items()},
            )
        )
    assert found[0] == found[1]


def test_the_order_of_an_epoch_lies_in_a_mapped_file() -> None:
    batch = next(iter(BatchOrder(np.arange(1, 1000), 16, seed=0)))
    while isinstance(batch, np.ndarray):
        batch = batch.base
    assert isinstance(getattr(batch, "obj", batch), mmap.mmap)
