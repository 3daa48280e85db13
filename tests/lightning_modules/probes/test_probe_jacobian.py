"""Jacobians of linear maps are the maps, and those of blocks agree with small changes of their input."""

from __future__ import annotations

import pytest
import torch
from synthetic_batches import make_network

from lightning_modules.network.context import Context
from lightning_modules.probes.jacobian import block_singular_values, jacobian_singular_values
from lightning_modules.schemes.families import TABLE_ORDER


def test_the_jacobian_of_two_linear_layers_is_their_product():
    first, second = torch.randn(7, 4, dtype=torch.float64), torch.randn(4, 7, dtype=torch.float64)
    x = torch.randn(3, 4, dtype=torch.float64)
    found = jacobian_singular_values(lambda x: x @ first.T @ second.T, x)
    expected = torch.linalg.svdvals(second @ first).repeat(3).sort(descending=True).values  # one copy per token
    torch.testing.assert_close(found, expected)


def test_a_block_whose_sublayers_put_out_nothing_is_an_isometry_with_a_skip_and_null_without():
    for variant, expected in (("no_norm", 1.0), ("pre_ln", 1.0), ("plain", 0.0)):
        block = make_network(torch.float64, variant=variant).blocks[0]
        for sublayer in (block.attention, block.feed_forward):
            torch.nn.init.zeros_(sublayer.function.output.weight)
        values = block_singular_values(block, torch.randn(3, 16, dtype=torch.float64))
        torch.testing.assert_close(values, torch.full((48,), expected, dtype=torch.float64))


@pytest.mark.parametrize("variant", sorted(set(TABLE_ORDER) - {"bag_of_embeddings"}))
def test_a_blocks_jacobian_agrees_with_finite_differences(variant):
    block = make_network(torch.float64, variant=variant, activation="gelu", width=8, heads=2).blocks[1]
    x = torch.randn(3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    context = Context(torch.ones(1, 3, dtype=torch.bool))
    step = 1e-6
    with torch.no_grad():
        columns = []
        for direction in torch.eye(24, dtype=torch.float64).view(24, 3, 8):
            change = block((x + step * direction)[None], context) - block((x - step * direction)[None], context)
            columns.append(change.flatten() / (2 * step))
    expected = torch.linalg.svdvals(torch.stack(columns, dim=1))
    torch.testing.assert_close(block_singular_values(block, x), expected, rtol=1e-5, atol=1e-6)


def test_a_jacobian_that_is_not_finite_is_nan():
    assert jacobian_singular_values(lambda x: x * torch.nan, torch.ones(2, 2)).isnan().all()
