from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_modules.cleaning.splits import cut, subset
from data_modules.errors import DataError

LABELS = st.lists(st.integers(0, 3), min_size=20, max_size=200).map(lambda labels: np.array(labels + [0, 1, 2, 3] * 2))


@given(LABELS, st.floats(0.05, 0.95), st.integers(0, 5))
@example(np.array([0, 1, 2, 3] * 2), 0.9, 0)
def test_a_stratified_cut_takes_each_class_by_its_share_and_repeats_for_its_seed(labels, fraction, seed) -> None:
    chosen = cut(labels, None, fraction, seed)
    for label in range(4):
        total = (labels == label).sum()
        assert 1 <= chosen[labels == label].sum() < total
        assert abs(chosen[labels == label].sum() - total * fraction) <= 1
    np.testing.assert_array_equal(chosen, cut(labels, None, fraction, seed))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 15)), min_size=60, max_size=200), st.integers(0, 5))
def test_no_group_is_cut_in_two_and_every_class_is_on_both_sides(rows, seed) -> None:
    # groups of one class each, four at least per class
    rows = rows + [(label, group) for label in range(3) for group in range(4)]
    labels = np.array([label for label, _ in rows])
    groups = np.array([f"{label}/{group}" for label, group in rows])
    chosen = cut(labels, groups, 0.25, seed)
    assert not set(groups[chosen]) & set(groups[~chosen])
    assert set(labels[chosen]) == set(labels[~chosen]) == {0, 1, 2}


@pytest.mark.parametrize("seed", range(8))
def test_a_group_that_would_fill_much_of_a_split_is_left_out_of_it_where_others_can_fill_it(seed) -> None:
    groups = np.array(["long"] * 30 + [f"short{row}" for row in range(70)])
    labels = np.tile([0, 1], 50)
    chosen = cut(labels, groups, 0.4, seed)
    assert chosen.sum() == 40 and not chosen[groups == "long"].any()


def test_a_class_with_one_row_cannot_be_cut() -> None:
    with pytest.raises(DataError, match="1 training row"):
        cut(np.array([0, 0, 0, 1]), None, 0.5, 0)


def test_one_group_cannot_be_cut() -> None:
    with pytest.raises(DataError, match="too few"):
        cut(np.array([0, 1] * 5), np.array(["a"] * 10), 0.5, 0)


@given(LABELS, st.integers(4, 100), st.integers(0, 3))
def test_a_subset_has_the_asked_size_and_the_classes_shares(labels, rows, seed) -> None:
    kept = subset(labels, rows, seed)
    assert len(kept) == len(set(kept.tolist())) == min(rows, len(labels))
    if rows < len(labels):
        shares = np.bincount(labels, minlength=4) / len(labels)
        counts = np.bincount(labels[kept], minlength=4)
        rescued = int((shares * rows < 1).sum())  # rare classes whose one row others give
        assert (np.abs(counts - shares * rows) < 1 + rescued + 1e-9).all()
        assert (counts[shares > 0] >= 1).all()


def test_a_subset_keeps_every_class_however_rare() -> None:
    labels = np.array([0] * 300 + [1] * 40 + [2] * 2 + [3])
    kept = subset(labels, 6, 0)
    assert len(kept) == 6
    assert set(labels[kept]) == {0, 1, 2, 3}
