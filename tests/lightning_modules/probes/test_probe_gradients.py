"""Gradient norms and update ratios of weight matrices, by hand on a two-layer linear network and on blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from synthetic_batches import make_batch, make_network
from torch import nn

from lightning_modules.probes.gradients import gradient_norms, update_ratios, weight_matrices

NAMES = [
    *(f"attention_{name}" for name in ("query", "key", "value", "output")),
    *("feed_forward_hidden", "feed_forward_output"),
]


def two_linear_layers() -> nn.Sequential:
    """``y = W₂·W₁·x`` with W₁ = [[1, 2], [3, 4]] and W₂ = [[1, -1]]."""
    network = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False))
    network[0].weight = nn.Parameter(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    network[1].weight = nn.Parameter(torch.tensor([[1.0, -1.0]]))
    return network


def test_gradients_of_two_linear_layers_by_hand():
    """At x = (1, 1), hidden is h = (3, 7) and y = -4; for the loss y²/2 both gradients carry the factor y."""
    network = two_linear_layers()
    loss = network(torch.ones(1, 2)).square().sum() / 2
    parameters = list(network.parameters())
    norms = gradient_norms(network, dict(zip(parameters, torch.autograd.grad(loss, parameters), strict=True)))
    assert {name: float(norm) for name, norm in norms.items()} == {
        "0": pytest.approx(4 * 2),  # y·W₂ᵀ·xᵀ = -4·[[1, 1], [-1, -1]]
        "1": pytest.approx(4 * np.hypot(3, 7)),  # y·hᵀ
    }


def test_update_ratios_of_one_sgd_step_by_hand():
    network = two_linear_layers()
    before = {parameter: parameter.detach().clone() for parameter in network.parameters()}
    (network(torch.ones(1, 2)).square().sum() / 2).backward()
    torch.optim.SGD(network.parameters(), lr=0.01).step()
    ratios = update_ratios(network, before)
    assert float(ratios["0"]) == pytest.approx(0.01 * 8 / np.sqrt(1 + 4 + 9 + 16), rel=1e-5)
    assert float(ratios["1"]) == pytest.approx(0.01 * 4 * np.hypot(3, 7) / np.sqrt(2), rel=1e-5)


def test_fused_query_key_and_value_are_three_matrices():
    block = make_network().blocks[1]
    matrices = weight_matrices(block)
    assert list(matrices) == NAMES
    fused = block.attention.function.query_key_value.weight
    parts = [matrices[f"attention_{name}"].of(fused) for name in ("query", "key", "value")]
    for part, expected in zip(parts, fused.chunk(3), strict=True):
        torch.testing.assert_close(part, expected, rtol=0, atol=0)


def test_gradient_norms_of_a_block_are_autograds():
    network, batch = make_network(torch.float64), make_batch(6)
    F.cross_entropy(network(batch["input_ids"], batch["attention_mask"]), batch["labels"]).backward()
    block = network.blocks[0]
    norms = gradient_norms(block, {parameter: parameter.grad for parameter in block.parameters()})
    fused = block.attention.function.query_key_value.weight.grad
    expected = [
        *(np.linalg.norm(fused[16 * part : 16 * part + 16]) for part in range(3)),
        np.linalg.norm(block.attention.function.output.weight.grad),
        np.linalg.norm(block.feed_forward.function.hidden.weight.grad),
        np.linalg.norm(block.feed_forward.function.output.weight.grad),
    ]
    assert [float(norms[name]) for name in NAMES] == pytest.approx(expected)
