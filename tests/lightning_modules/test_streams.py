"""Residual streams follow their papers' formulas, constants and initial weights."""

from __future__ import annotations

import math

import pytest
import torch
from synthetic_batches import make_batch, make_network
from torch import nn

from lightning_modules.network.context import Context
from lightning_modules.network.initialisation import BRANCH_GAINS
from lightning_modules.schemes.streams import STREAMS, Place, ResidualStream, Role


def stream(name: str, blocks: int = 4) -> ResidualStream:
    return STREAMS[name](Place(0, 2 * blocks, Role.ATTENTION), 8, nn.Identity())


@pytest.mark.parametrize(
    ("name", "skip", "branch"),
    [
        ("none", 0.0, 1.0),
        ("identity", 1.0, 1.0),
        ("rezero", 1.0, 0.0),
        ("deepnorm", (2 * 4) ** 0.25, 1.0),
        ("depth_scaled", 1.0, 1 / math.sqrt(4)),
    ],
)
def test_a_stream_writes_the_weighted_sum_of_its_formula(name, skip, branch):
    state, y = torch.randn(2, 3, 8), torch.randn(2, 3, 8)
    torch.testing.assert_close(stream(name).write(state, y), skip * state + branch * y)


@pytest.mark.parametrize(("blocks", "skip", "branch"), [(6, 1.861, 0.380), (12, 2.213, 0.319), (24, 2.632, 0.269)])
def test_deepnorms_constants_are_those_of_its_paper(blocks, skip, branch):
    assert stream("deepnorm", blocks).skip_weight == pytest.approx(skip, abs=5e-4)
    assert BRANCH_GAINS["deepnorm"](blocks) == pytest.approx(branch, abs=5e-4)


def test_deepnorm_shrinks_all_branch_matrices_but_query_and_key():
    plain, scaled = (make_network(variant=variant, layers=6) for variant in ("post_ln", "deepnorm"))
    gain = (8 * 6) ** -0.25
    for one, other in zip(plain.blocks, scaled.blocks, strict=True):
        query, key, value = one.attention.function.query_key_value.weight.chunk(3)
        expected = torch.cat([query, key, gain * value])
        torch.testing.assert_close(other.attention.function.query_key_value.weight, expected)
        torch.testing.assert_close(other.attention.function.output.weight, gain * one.attention.function.output.weight)
        for name in ("hidden", "output"):
            matrices = (getattr(block.feed_forward.function, name).weight for block in (one, other))
            before, after = matrices
            torch.testing.assert_close(after, gain * before)


def test_rezero_starts_as_the_identity_and_only_its_branch_weights_feel_the_first_gradient():
    network, batch = make_network(variant="rezero", layers=5), make_batch(4)
    x = network.embedding(batch["input_ids"])
    out = network.blocks(x, Context(batch["attention_mask"]))
    assert torch.equal(out, x)
    network(batch["input_ids"], batch["attention_mask"]).sum().backward()
    for name, parameter in network.blocks.named_parameters():
        assert (parameter.grad.abs().max() > 0) == name.endswith("branch_weight"), name


def test_a_place_knows_its_block():
    places = [Place(index, 6, Role.ATTENTION) for index in range(6)]
    assert [place.block for place in places] == [1, 1, 2, 2, 3, 3]
    assert {place.blocks for place in places} == {3}
