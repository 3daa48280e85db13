from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from data_modules.batches.batching import BatchDataset, BatchOrder, EvaluationOrder
from data_modules.tokens.encoding import pack

LENGTHS = st.lists(st.integers(1, 50), min_size=1, max_size=300).map(np.array)


@given(LENGTHS, st.integers(1, 40), st.booleans())
def test_every_row_comes_once_per_epoch_in_the_announced_number_of_batches(lengths, size, grouped) -> None:
    order = BatchOrder(lengths, size, seed=0, length_grouped=grouped)
    batches = list(order)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    assert len(batches) == len(order)
    assert max(map(len, batches)) <= size


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    lengths = np.arange(1, 501) % 37 + 1

    def order(seed: int, epoch: int, visited: tuple[int, ...] = ()) -> list[int]:
        sampler = BatchOrder(lengths, 16, seed)
        for earlier in visited:
            sampler.set_epoch(earlier)
            list(sampler)
        sampler.set_epoch(epoch)
        return np.concatenate(list(sampler)).tolist()

    assert order(1, 2) == order(1, 2, visited=(0, 1))
    assert order(1, 2) != order(1, 3)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_length_grouping_saves_padding() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, size=6_400)

    def padded(grouped: bool) -> int:
        return sum(len(batch) * lengths[batch].max() for batch in BatchOrder(lengths, 64, 0, length_grouped=grouped))

    assert padded(True) < 0.65 * padded(False)


@given(st.lists(st.lists(st.integers(1, 99), min_size=1, max_size=8), min_size=1, max_size=20), st.data())
def test_a_batch_holds_the_rows_tokens_padded_to_the_longest(rows, data) -> None:
    chosen = np.array(data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=6)))
    labels = np.arange(len(rows), dtype=np.int64)
    batch = BatchDataset(pack(rows, labels), padding_id=0)[chosen]
    longest = max(len(rows[row]) for row in chosen)
    assert batch["input_ids"].tolist() == [rows[row] + [0] * (longest - len(rows[row])) for row in chosen]
    assert batch["attention_mask"].sum(dim=1).tolist() == [len(rows[row]) for row in chosen]
    assert batch["labels"].tolist() == batch["rows"].tolist() == chosen.tolist()


def test_evaluation_order_holds_the_given_rows_only() -> None:
    order = EvaluationOrder(np.array([5, 1, 4, 2]), 2, rows=np.array([0, 1, 3]))
    assert [batch.tolist() for batch in order] == [[1, 3], [0]]
