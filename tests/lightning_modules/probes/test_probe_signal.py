"""Measures of the stream agree with closed forms and with loops over rows, and padding is nothing to them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from lightning_modules.probes import signal
from lightning_modules.probes.measuring import STREAM_MEASURES

ALL_REAL = torch.ones(1, 6, dtype=torch.bool)


def rows_of_tokens(seed: int, lengths: list[int], width: int = 5) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(length, width, dtype=torch.float64, generator=generator) + 0.5 for length in lengths]


def padded(rows: list[torch.Tensor], length: int, filling: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of different lengths as one batch whose padding holds ``filling``."""
    x = torch.full((len(rows), length, rows[0].shape[-1]), filling, dtype=rows[0].dtype)
    mask = torch.zeros(len(rows), length, dtype=torch.bool)
    for index, row in enumerate(rows):
        x[index, : len(row)], mask[index, : len(row)] = row, True
    return x, mask


@given(st.integers(0, 100), st.lists(st.integers(1, 7), min_size=1, max_size=4), st.integers(0, 5))
def test_no_measure_sees_padding(seed, lengths, more):
    rows = rows_of_tokens(seed, [2, *lengths])
    tight = padded(rows, max(2, *lengths), 0.0)
    loose = padded(rows, max(2, *lengths) + more, 1e6)
    for function in STREAM_MEASURES.values():
        torch.testing.assert_close(function(*loose), function(*tight), rtol=1e-9, atol=1e-12)


@given(st.integers(0, 100), st.lists(st.integers(2, 7), min_size=1, max_size=4))
def test_row_measures_equal_their_definitions_row_by_row(seed, lengths):
    rows = rows_of_tokens(seed, lengths)
    x, mask = padded(rows, 8, -3.0)
    cosines, distances, ranks = [], [], []
    for row in (row.numpy() for row in rows):
        unit = row / np.linalg.norm(row, axis=1, keepdims=True)
        cosines.append((unit @ unit.T)[~np.eye(len(row), dtype=bool)].mean())
        distances.append(np.linalg.norm(row - row.mean(axis=0)) / np.linalg.norm(row))
        ranks.append(math.exp(entropy(np.linalg.svd(row, compute_uv=False))))
    assert float(signal.token_cosine(x, mask)) == pytest.approx(np.mean(cosines), abs=1e-12)
    assert float(signal.rank_one_distance(x, mask)) == pytest.approx(np.mean(distances), rel=1e-9)
    assert float(signal.effective_rank(x, mask)) == pytest.approx(np.mean(ranks), rel=1e-9)


def test_measures_over_all_tokens_by_hand():
    x = torch.tensor([[[1.0, -3.0], [3.0, 1.0], [9.0, 9.0]], [[5.0, 1.0], [9.0, 9.0], [9.0, 9.0]]])
    mask = torch.tensor([[True, True, False], [True, False, False]])
    assert float(signal.rms(x, mask)) == pytest.approx(math.sqrt((1 + 9 + 9 + 1 + 25 + 1) / 6))
    assert float(signal.mean(x, mask)) == pytest.approx(8 / 6)
    first, second = (1 + 9 + 25) / 3, (9 + 1 + 1) / 3  # mean squares of the two neurons
    assert float(signal.kurtosis(x, mask)) == pytest.approx(2 * (first**2 + second**2) / (first + second) ** 2)
    assert float(signal.update_share(2 * x, x, mask)) == pytest.approx(2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_tokens_have_cosine_one_no_distance_and_rank_one(dtype):
    x = torch.arange(1.0, 5.0, dtype=dtype).expand(1, 6, 4)
    tolerance = 100 * torch.finfo(dtype).eps
    assert float(signal.token_cosine(x, ALL_REAL)) == pytest.approx(1, abs=tolerance)
    assert float(signal.rank_one_distance(x, ALL_REAL)) == pytest.approx(0, abs=tolerance)
    assert float(signal.effective_rank(x, ALL_REAL)) == pytest.approx(1, abs=1e3 * tolerance)


def test_an_orthogonal_matrix_has_full_rank_and_orthogonal_tokens():
    orthogonal = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q[None]
    assert float(signal.effective_rank(orthogonal, ALL_REAL)) == pytest.approx(6)
    assert float(signal.token_cosine(orthogonal, ALL_REAL)) == pytest.approx(0, abs=1e-12)


def test_opposite_tokens_are_as_far_from_rank_one_as_can_be():
    x = torch.tensor([[[1.0, 2.0], [-1.0, -2.0]]])
    mask = torch.ones(1, 2, dtype=torch.bool)
    assert float(signal.token_cosine(x, mask)) == pytest.approx(-1)
    assert float(signal.rank_one_distance(x, mask)) == pytest.approx(1)


def test_kurtosis_lies_between_one_and_the_width():
    signs = torch.tensor([1.0, -1.0]).repeat(3)[None, :, None].expand(1, 6, 8)
    assert float(signal.kurtosis(signs, ALL_REAL)) == pytest.approx(1)
    outlier = torch.zeros(1, 6, 8)
    outlier[..., 3] = 40.0
    assert float(signal.kurtosis(outlier, ALL_REAL)) == pytest.approx(8)


def test_what_cannot_be_measured_is_nan_and_no_error():
    single = torch.tensor([[True] + [False] * 5])
    x = torch.randn(1, 6, 4)
    for function in (signal.token_cosine, signal.rank_one_distance, signal.effective_rank):
        assert function(x, single).isnan()
    x[0, 2, 1] = torch.inf
    assert signal.effective_rank(x, ALL_REAL).isnan()
    zeros = torch.zeros(1, 6, 4)
    assert float(signal.token_cosine(zeros, ALL_REAL)) == float(signal.rank_one_distance(zeros, ALL_REAL)) == 0
