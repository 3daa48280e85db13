"""Curves of several seeds become a mean and an interval, at the points that each seed really has."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from experiments.reporting.curves import gradient_band, seed_band, spoken_bands


def test_seeds_of_unequal_length_are_averaged_where_they_exist() -> None:
    histories = [{"step": [1, 2, 3], "loss": [3.0, 2.0, 1.0]}, {"step": [1, 2], "loss": [5.0, None]}]
    band = seed_band(histories, "step", "loss")
    assert band is not None
    assert band.x.tolist() == [1, 2, 3]
    assert band.mean.tolist() == [4.0, 2.0, 1.0]
    assert (band.low.tolist(), band.high.tolist()) == ([3.0, 2.0, 1.0], [5.0, 2.0, 1.0])


def test_without_any_value_there_is_no_band() -> None:
    assert seed_band([{}, {"step": [1], "loss": [None]}], "step", "loss") is None
    assert gradient_band([{}, {"step": [1], "blocks": [[0.0, None]]}]) is None


def test_gradient_norms_are_geometric_means_of_the_first_steps() -> None:
    histories = [
        {"step": [1, 5, 50], "blocks": [[1.0, 10.0], [100.0, 10.0], [1e9, 1e9]]},
        {"step": [1], "blocks": [[1000.0, 1000.0]]},
    ]
    band = gradient_band(histories)
    assert band is not None
    assert band.mean == pytest.approx([100.0, 100.0]), "√(10 · 1000) = 100"
    assert band.low == pytest.approx([10.0, 10.0])
    assert band.high == pytest.approx([1000.0, 1000.0])


def test_a_log_that_starts_late_gives_its_first_step() -> None:
    band = gradient_band([{"step": [20, 40], "blocks": [[2.0], [8.0]]}])
    assert band is not None
    assert band.mean == pytest.approx([2.0])


@pytest.mark.parametrize("geometric", [False, True])
def test_from_three_seeds_a_band_is_the_t_interval_of_the_mean_on_logarithms_where_it_is_geometric(
    geometric: bool,
) -> None:
    values = [1.0, 2.0, 4.0, 16.0]
    band = seed_band([{"step": [1], "loss": [value]} for value in values], "step", "loss", geometric=geometric)
    assert band is not None
    sample = np.log(values) if geometric else np.array(values)
    low, high = stats.t.interval(0.95, 3, sample.mean(), stats.sem(sample))
    expected = np.exp([low, high]) if geometric else np.array([low, high])
    assert [band.low[0], band.high[0]] == pytest.approx(expected)


def test_what_a_band_is_depends_on_the_seeds_that_are_left() -> None:
    runs = [{"step": [1, 2], "loss": [3.0, 2.0]}, {"step": [1, 2], "loss": [3.0, 1.0]}, {"step": [1], "loss": [5.0]}]
    said = {}
    for name, histories in (("one", runs[:1]), ("two", runs[:2]), ("three", runs), ("kept", [runs[0]] * 3)):
        band = seed_band(histories, "step", "loss")
        assert band is not None
        said[name] = spoken_bands([band])
    assert said == {
        "one": "Lines: one seed each.",
        "two": "Lines: mean over seeds. Bands: their range.",
        "three": "Lines: mean over seeds. Bands: its 95 % t-interval, the range of fewer than 3.",
        "kept": "Lines: mean over seeds. Bands: its 95 % t-interval.",
    }
