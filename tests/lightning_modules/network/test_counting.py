"""Counts of a built network equal closed formulas."""

from __future__ import annotations

import pytest
import torch
from synthetic_batches import make_network

from lightning_modules.config import ModelConfig
from lightning_modules.network.counting import count, count_configuration


@pytest.mark.parametrize("layers", [0, 1, 5])
def test_flops_equal_the_formula(layers):
    """Six operations per weight and token, and per layer six matrix products of T x D for attention's two."""
    width, length, classes = 32, 20, 3
    counts = count_configuration(
        ModelConfig(layers=layers, width=width), vocabulary_size=50, outputs=classes, max_length=length
    )
    matrices = 6 * layers * 12 * width**2
    attention = 3 * layers * 4 * length * width
    assert counts.flops_per_token == round(matrices + attention + 6 * width * classes / length)


def test_fixed_positions_are_no_parameters():
    config = ModelConfig(layers=2, width=16, positions="sinusoidal")
    planned = count_configuration(config, vocabulary_size=40, outputs=3, max_length=12)
    assert planned == count(make_network(positions="sinusoidal"), length=12)
    assert planned.parameters == count(make_network(), length=12).parameters - 12 * 16


def test_counting_leaves_the_network_alone():
    network = make_network()
    before = [parameter.clone() for parameter in network.parameters()]
    count(network, length=8)
    assert all(p.equal(b) and p.grad is None for p, b in zip(network.parameters(), before, strict=True))
    assert next(network.parameters()).device == torch.device("cpu")


def test_parts_hold_every_parameter_once():
    network = make_network(variant="pre_ln", layers=3)
    parts = network.parts()
    assert list(parts) == ["embedding", "block_00", "block_01", "block_02", "head"]
    identities = [id(parameter) for parameters in parts.values() for parameter in parameters]
    assert sorted(identities) == sorted(id(parameter) for parameter in network.parameters())
