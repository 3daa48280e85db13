"""Dropout keeps the share, the mean and the gradient that its formula promises."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom
from synthetic_batches import make_batch, make_network

from lightning_modules.network.context import Context
from lightning_modules.network.dropout import Dropout, scaled_mask

ROWS = 200_000


@pytest.mark.parametrize("probability", [0.01, 0.1, 0.5, 0.9])
def test_the_share_of_dropped_elements_is_binomial(probability):
    torch.manual_seed(0)
    dropped = int((scaled_mask(torch.Size([ROWS]), probability) == 0).sum())
    low, high = binom.interval(1 - 1e-6, ROWS, probability)
    assert low <= dropped <= high


@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_the_four_elements_of_one_draw_are_independent(probability):
    torch.manual_seed(1)
    dropped = (scaled_mask(torch.Size([ROWS // 4, 4]), probability) == 0).double()
    correlation = torch.corrcoef(dropped.T) - torch.eye(4)
    assert correlation.abs().max() < 6 / math.sqrt(ROWS // 4)


@given(probability=st.floats(0, 0.999), shape=st.lists(st.integers(1, 7), min_size=1, max_size=3))
def test_what_is_kept_is_scaled_so_that_the_mean_stays(probability, shape):
    mask = scaled_mask(torch.Size(shape), probability)
    assert mask.shape == torch.Size(shape)
    kept = mask[mask > 0]
    assert torch.allclose(kept, torch.tensor(1 / (1 - probability)), rtol=1e-5 / (1 - probability))


def test_the_gradient_passes_through_what_was_kept():
    torch.manual_seed(2)
    x = torch.ones(50, 8, requires_grad=True)
    y = Dropout(0.3)(x)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_equal_seeds_drop_the_same_and_other_seeds_do_not():
    x, dropout = torch.ones(64), Dropout(0.5)
    masks = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        masks.append(dropout(x))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


@pytest.mark.parametrize(("probability", "training"), [(0.0, True), (0.4, False)])
def test_nothing_is_dropped_without_probability_or_in_evaluation(probability, training):
    x = torch.randn(5, 3)
    assert Dropout(probability).train(training)(x) is x


def test_autocasts_half_precision_is_promoted_so_that_the_scale_is_exact():
    torch.manual_seed(5)
    with torch.autocast("cpu", torch.bfloat16):
        y = Dropout(0.1)(torch.ones(1000, dtype=torch.bfloat16))
    assert y.dtype == torch.float32
    assert torch.allclose(y[y > 0], torch.tensor(1 / 0.9), rtol=1e-4)


def test_a_network_of_half_precision_throughout_stays_in_it():
    y = Dropout(0.1)(torch.ones(1000, dtype=torch.bfloat16))
    assert y.dtype == torch.bfloat16
    assert torch.allclose(y[y > 0].float(), torch.tensor(1 / 0.9), rtol=1e-2)


def test_dropout_falls_on_what_the_norms_put_out():
    network, batch = make_network(variant="peri_ln", dropout=0.5).train(), make_batch(16)
    torch.manual_seed(6)
    x = network.backbone.embeddings(batch["input_ids"])
    assert (x == 0).float().mean().item() == pytest.approx(0.5, abs=0.05)
    for sublayer in (network.blocks[0].attention, network.blocks[0].feed_forward):
        unmoved = sublayer(x, Context(batch["attention_mask"])) == x
        assert unmoved.float().mean().item() == pytest.approx(0.5, abs=0.05)
