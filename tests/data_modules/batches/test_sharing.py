"""Several processes share every batch: each row is in one of them, and all take equally many steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_modules.batches.batching import BatchOrder, EvaluationOrder
from data_modules.batches.sharing import Share
from data_modules.errors import DataError

LENGTHS = st.lists(st.integers(1, 40), min_size=4, max_size=300).map(np.array)
PROCESSES = st.integers(2, 4)
SIZES = st.integers(1, 20)


@given(LENGTHS, SIZES, PROCESSES)
def test_no_evaluation_row_is_in_two_processes_and_all_take_equally_many_steps(lengths, size, processes) -> None:
    orders = [EvaluationOrder(lengths, size, share=Share(number, processes)) for number in range(processes)]
    batches = [list(order) for order in orders]
    assert {len(each) for each in batches} == {len(orders[0])}
    assert size < processes or min(len(batch) for each in batches for batch in each) > 0
    seen = np.concatenate([batch for each in batches for batch in each])
    assert sorted(seen.tolist()) == list(range(len(lengths)))


@given(LENGTHS, SIZES, PROCESSES, st.booleans())
def test_together_the_processes_train_on_the_batches_of_one(lengths, size, processes, grouped) -> None:
    alone = list(BatchOrder(lengths, size, seed=3, length_grouped=grouped))
    shared = [
        list(BatchOrder(lengths, size, seed=3, length_grouped=grouped, share=Share(number, processes)))
        for number in range(processes)
    ]
    assert all(len(each) == len(alone) for each in shared)
    for step, batch in enumerate(alone):
        parts = [each[step] for each in shared]
        assert set(np.concatenate(parts).tolist()) == set(batch.tolist())
        assert all(len(part) for part in parts)
        if len(batch) >= processes:
            assert sum(map(len, parts)) == len(batch)


def test_fewer_rows_than_processes_cannot_be_shared() -> None:
    with pytest.raises(DataError, match="2 rows cannot be shared by 3 processes"):
        EvaluationOrder(np.array([1, 2]), 8, share=Share(0, 3))
