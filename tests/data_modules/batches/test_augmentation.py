from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_modules.batches.augmentation import AUGMENTATIONS, AugmentedBatches, EpochOrder, delete_and_swap, random_crop
from data_modules.batches.batching import BatchOrder
from data_modules.config import DataConfig
from data_modules.errors import DataError
from data_modules.labelled_text import TextDataModule
from data_modules.tokens.encoding import pack
from experiments.planning.run_config import RunConfig


@given(st.lists(st.integers(1, 9), max_size=40), st.integers(0, 50))
def test_tokens_are_only_lost_or_moved_and_the_first_stays(tokens: list[int], seed: int) -> None:
    row = np.array([100, *tokens], dtype=np.int32)
    augmented = delete_and_swap(row, np.random.default_rng(seed))
    assert augmented[0] == 100
    assert min(len(row), 2) <= len(augmented) <= len(row)
    assert not Counter(augmented.tolist()) - Counter(row.tolist())


def test_a_tenth_of_the_tokens_is_deleted_and_a_tenth_swapped() -> None:
    row = np.arange(1001, dtype=np.int32)
    augmented = delete_and_swap(row, np.random.default_rng(0))
    assert len(augmented) == pytest.approx(901, abs=30)
    moved = np.sum(np.diff(augmented) < 0)
    assert 50 < moved < 250, "a hundred swaps, each of which breaks the order at most at four places"
    assert delete_and_swap(row, np.random.default_rng(0), strength=0.0).tolist() == row.tolist()


@given(st.lists(st.integers(1, 9), max_size=40), st.integers(0, 50))
def test_a_crop_is_a_stretch_without_gaps_of_at_least_half_and_the_first_stays(tokens: list[int], seed: int) -> None:
    row = np.array([100, *tokens], dtype=np.int32)
    first, *kept = random_crop(row, np.random.default_rng(seed)).tolist()
    assert first == 100
    assert 2 * len(kept) >= len(tokens)
    assert any(tokens[start : start + len(kept)] == kept for start in range(len(tokens) - len(kept) + 1))


def test_every_length_and_place_of_a_crop_is_drawn_equally_often() -> None:
    row, generator = np.arange(5, dtype=np.int32), np.random.default_rng(0)
    drawn = Counter(tuple(random_crop(row, generator).tolist()) for _ in range(6000))
    expected = {
        (0, *range(start, start + kept)): 1 / 3 / (5 - kept) for kept in (2, 3, 4) for start in range(1, 6 - kept)
    }
    assert set(drawn) == set(expected)
    assert {crop: count / 6000 for crop, count in drawn.items()} == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_what_becomes_of_a_row_depends_on_seed_epoch_and_row_alone(augmentation: str) -> None:
    generator = np.random.default_rng(0)
    rows = [generator.integers(1, 99, size=20).tolist() for _ in range(12)]
    batches = AugmentedBatches(pack(rows, np.arange(12)), padding_id=0, seed=3, augmentation=augmentation)
    together, alone = batches[2, np.arange(12)], batches[2, np.array([5])]
    length = int(alone["attention_mask"].sum())
    assert together["input_ids"][5, :length].tolist() == alone["input_ids"][0].tolist()
    assert int(together["attention_mask"][5].sum()) == length
    assert together["labels"].tolist() == list(range(12))
    assert batches[3, np.arange(12)]["input_ids"].tolist() != together["input_ids"].tolist()
    reseeded = AugmentedBatches(pack(rows, np.arange(12)), padding_id=0, seed=4, augmentation=augmentation)
    assert reseeded[2, np.arange(12)]["input_ids"].tolist() != together["input_ids"].tolist()


def test_the_order_of_rows_is_that_without_augmentation() -> None:
    lengths = np.random.default_rng(0).integers(1, 30, 50)
    plain, stamped = BatchOrder(lengths, 8, seed=1), EpochOrder(lengths, 8, seed=1)
    for order in (plain, stamped):
        order.set_epoch(4)
    for rows, (epoch, same) in zip(plain, stamped, strict=True):
        assert epoch == 4 and rows.tolist() == same.tolist()


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_training_rows_alone_are_augmented(augmentation: Any, tmp_path: Path) -> None:
    settings = {"corpus": "listops", "max_length": 24, "cache_dir": str(tmp_path), "listops": DataConfig().listops}
    settings["listops"].train_rows, settings["listops"].evaluation_rows = 200, 40
    plain, augmented = TextDataModule(**settings), TextDataModule(**settings, augmentation=augmentation)

    def tokens(loader: Iterable[Any]) -> list[list[int]]:
        return [batch["input_ids"].tolist() for batch in loader]

    assert tokens(plain.train_dataloader()) != tokens(augmented.train_dataloader())
    for name in ("val_dataloader", "train_sample_dataloader"):
        assert tokens(getattr(plain, name)()) == tokens(getattr(augmented, name)())


def test_augmentation_is_part_of_a_runs_identity_and_its_absence_is_not() -> None:
    plain = RunConfig()
    augmented = [RunConfig(data=DataConfig(augmentation=name)) for name in ("delete_and_swap", "random_crop")]
    assert "augmentation" not in plain.identity()["data"]
    assert len({plain.hash(), *(config.hash() for config in augmented)}) == 3
    mistyped: dict[str, Any] = {"augmentation": "delete_and_swop"}
    with pytest.raises(DataError, match="delete_and_swap"):
        DataConfig(**mistyped)
