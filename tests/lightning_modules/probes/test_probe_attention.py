"""Attention's entropy has its closed forms, and the probabilities are those of the kernel."""

from __future__ import annotations

import math

import pytest
import torch
from synthetic_batches import make_batch

from lightning_modules.network.attention import attend
from lightning_modules.probes.attention_entropy import (
    attention_entropy,
    attention_entropy_share,
    attention_probabilities,
)
from lightning_modules.probes.saturation import dead_unit_share, inactive_share


def test_uniform_attention_has_the_entropy_of_its_keys():
    mask = torch.tensor([[True] * 5, [True] * 2 + [False] * 3])
    nothing = torch.zeros(2, 3, 5, 4, dtype=torch.float64)
    probabilities = attention_probabilities(nothing, nothing, mask)
    expected = (5 * math.log(5) + 2 * math.log(2)) / 7  # over real queries
    assert float(attention_entropy(probabilities, mask)) == pytest.approx(expected)
    assert float(attention_entropy_share(probabilities, mask)) == pytest.approx(1)


def test_attention_to_a_single_key_has_no_entropy():
    mask = torch.ones(1, 4, dtype=torch.bool)
    probabilities = torch.eye(4).expand(1, 2, 4, 4)
    assert float(attention_entropy(probabilities, mask)) == 0
    assert float(attention_entropy_share(probabilities, mask)) == 0


def test_a_row_with_one_real_token_has_no_share():
    mask = torch.tensor([[True, False], [True, True]])
    probabilities = torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]], [[[0.5, 0.5], [1.0, 0.0]]]])
    assert float(attention_entropy_share(probabilities, mask)) == pytest.approx(0.5)
    assert float(attention_entropy(probabilities, mask)) == pytest.approx(math.log(2) / 3)


def test_probabilities_are_those_of_the_kernel():
    mask = make_batch(5)["attention_mask"]
    query, key, value = torch.randn(3, 5, 2, 12, 8, dtype=torch.float64)
    probabilities = attention_probabilities(query, key, mask)
    torch.testing.assert_close(probabilities @ value, attend(query, key, value, mask[:, None, None, :]))


def test_resting_units_by_hand():
    preactivation = torch.tensor([[[1.0, -1.0, 0.0], [-2.0, -1.0, 3.0], [9.0, 9.0, 9.0]]])
    mask = torch.tensor([[True, True, False]])
    assert float(inactive_share(preactivation, mask)) == pytest.approx(4 / 6)
    assert float(dead_unit_share(preactivation, mask)) == pytest.approx(1 / 3)
