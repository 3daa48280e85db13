"""Curves of several seeds become a mean and a range, at the points that each seed really has."""

from __future__ import annotations

import pytest

from experiments.reporting.curves import gradient_band, seed_band


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
