"""Initial weights have the distribution that the configuration names, and depend on the seed alone."""

from __future__ import annotations

import math

import pytest
import torch
from synthetic_batches import make_network
from torch import nn

WIDE = {"width": 64, "layers": 2, "heads": 4}
STANDARD_DEVIATIONS = {
    "xavier": lambda outputs, inputs: math.sqrt(2 / (inputs + outputs)),
    "gaussian": lambda outputs, inputs: 0.02,
    "random": lambda outputs, inputs: 1 / math.sqrt(3 * inputs),
}


@pytest.mark.parametrize("gain", [1.0, 2.5])
@pytest.mark.parametrize("kind", STANDARD_DEVIATIONS)
def test_block_matrices_have_the_named_spread_times_the_gain(kind, gain):
    network = make_network(initialisation=kind, initialisation_gain=gain, **WIDE)
    expected = STANDARD_DEVIATIONS[kind]
    for block in network.blocks:
        attention, feed_forward = block.attention.function, block.feed_forward.function
        query_key_value = attention.query_key_value.weight.chunk(3)
        for matrix in (*query_key_value, attention.output.weight, feed_forward.hidden.weight):
            assert matrix.mean().item() == pytest.approx(0, abs=0.05 * gain * expected(*matrix.shape) * 2)
            assert matrix.std().item() == pytest.approx(gain * expected(*matrix.shape), rel=0.05)


@pytest.mark.parametrize("kind", STANDARD_DEVIATIONS)
def test_the_gain_leaves_embedding_and_head_alone(kind):
    plain, scaled = (make_network(initialisation=kind, initialisation_gain=gain, **WIDE) for gain in (1.0, 3.0))
    assert plain.backbone.embeddings.table.weight.equal(scaled.backbone.embeddings.table.weight)
    assert plain.head.linear.weight.equal(scaled.head.linear.weight)
    torch.testing.assert_close(
        3 * plain.blocks[1].attention.function.output.weight, scaled.blocks[1].attention.function.output.weight
    )


@pytest.mark.parametrize("kind", ["xavier", "gaussian"])
def test_biases_start_at_zero(kind):
    for module in make_network(initialisation=kind, **WIDE).modules():
        if isinstance(module, nn.Linear):
            assert torch.count_nonzero(module.bias) == 0


@pytest.mark.parametrize(("kind", "expected"), [("xavier", 0.02), ("gaussian", 0.02), ("random", 1.0)])
def test_embeddings_have_their_own_spread_and_padding_is_zero(kind, expected):
    tokens = make_network(initialisation=kind, **WIDE).backbone.embeddings.table.weight
    assert tokens[1:].std().item() == pytest.approx(expected, rel=0.06)
    assert torch.count_nonzero(tokens[0]) == 0


@pytest.mark.parametrize("kind", ["xavier", "random"])
def test_the_spread_of_embeddings_can_be_chosen_without_touching_the_matrices(kind):
    usual, chosen = (make_network(initialisation=kind, embedding_std=std, **WIDE) for std in (None, 0.3))
    assert chosen.backbone.embeddings.table.weight[1:].std().item() == pytest.approx(0.3, rel=0.06)
    pairs = zip(usual.blocks.parameters(), chosen.blocks.parameters(), strict=True)
    assert all(one.equal(other) for one, other in pairs)


def test_weights_depend_on_the_seed_alone_and_leave_the_global_generator_as_it_was():
    torch.manual_seed(1)
    first = make_network(seed=3)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second, other = make_network(seed=3), make_network(seed=4)
    assert state.equal(torch.get_rng_state())
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert all(a.equal(b) for a, b in pairs)
    assert not first.head.linear.weight.equal(other.head.linear.weight)


def test_sinusoidal_positions_follow_the_formula_and_scale_the_embedding():
    positions = make_network(positions="sinusoidal").backbone.embeddings.positions
    for position, feature in [(0, 0), (0, 1), (3, 4), (11, 15)]:
        angle = position / 10_000 ** (2 * (feature // 2) / 16)
        expected = math.cos(angle) if feature % 2 else math.sin(angle)
        assert positions.table[position, feature].item() == pytest.approx(expected, abs=1e-5)
    x = torch.randn(2, 5, 16)
    torch.testing.assert_close(positions(x), 4.0 * x + positions.table[:5])
