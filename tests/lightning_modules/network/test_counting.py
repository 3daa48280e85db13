"""Counts of a built network equal closed formulas."""

from __future__ import annotations

import pytest
import torch
from synthetic_batches import make_network

from lightning_modules.config import ModelConfig
from lightning_modules.network.counting import count, count_configuration
from lightning_modules.schemes.variants import VARIANTS


def parameters_by_formula(layers: int, width: int, vocabulary: int, length: int, classes: int, norms: int) -> int:
    attention = 4 * width * width + 4 * width
    feed_forward = 2 * width * 4 * width + 4 * width + width
    embeddings = (vocabulary + length) * width
    return embeddings + layers * (attention + feed_forward) + norms * 2 * width + classes * width + classes


@pytest.mark.parametrize("variant", VARIANTS)
def test_parameters_equal_the_formula_and_what_is_there(variant):
    network = make_network(variant=variant, layers=3)
    counts = count(network, length=8)
    layers = 0 if variant == "bag_of_embeddings" else 3
    branch_weights = 2 * layers if variant == "rezero" else 0
    assert counts.parameters == parameters_by_formula(layers, 16, 40, 12, 3, counts.norms) + branch_weights
    assert counts.parameters == sum(parameter.numel() for parameter in network.parameters())


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


@pytest.mark.parametrize("variant", VARIANTS)
def test_counting_a_configuration_equals_counting_what_is_built(variant):
    config = ModelConfig(variant=variant, layers=2, width=16, positions="sinusoidal")
    planned = count_configuration(config, vocabulary_size=40, outputs=3, max_length=12)
    built = count(make_network(variant=variant, positions="sinusoidal"), length=12)
    assert planned == built


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
