"""The median's interval has the coverage that it states, whatever the distribution."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.statistics.medians import median_interval


@pytest.mark.parametrize("count", [6, 9, 10, 25])
def test_the_interval_of_the_median_has_the_coverage_that_it_states(count: int) -> None:
    """Count over all ways in which values can lie below or above the median, or, for many values, draw them."""
    interval = median_interval([float(value) for value in range(count)])
    k = int(interval.low) + 1
    if count <= 10:
        below = [sum(signs) for signs in itertools.product((0, 1), repeat=count)]
        covered = np.mean([k <= number <= count - k for number in below])
        assert interval.coverage == pytest.approx(covered)
    else:
        draws = np.sort(np.random.default_rng(0).exponential(size=(20_000, count)), axis=1)
        covered = np.mean((draws[:, k - 1] <= np.log(2)) & (np.log(2) <= draws[:, -k]))
        assert interval.coverage == pytest.approx(covered, abs=0.01)
    assert interval.coverage >= 0.95


def test_the_interval_of_ten_pairs_leaves_out_the_extremes_and_that_of_five_says_it_is_weak() -> None:
    ten = median_interval([5.0, 1.0, 9.0, 2.0, 8.0, 3.0, 7.0, 4.0, 6.0, 10.0])
    assert (ten.low, ten.median, ten.high) == (2.0, 5.5, 9.0)
    assert ten.coverage == pytest.approx(1 - 22 / 1024)
    five = median_interval([5.0, 1.0, 4.0, 2.0, 3.0])
    assert (five.low, five.high) == (1.0, 5.0) and five.coverage == pytest.approx(1 - 2 / 32)
    assert median_interval([1.5]).coverage == 0


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=30))
def test_the_interval_encloses_the_median_whatever_the_order(values: list[float]) -> None:
    interval = median_interval(values)
    assert interval.low <= interval.median <= interval.high
    assert interval == median_interval(values[::-1])
