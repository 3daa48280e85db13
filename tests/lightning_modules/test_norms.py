"""Norms follow their formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from torch import nn

from lightning_modules.schemes.norms import NORMS, DepthScaledLayerNorm, LayerNorm, LayerNormOverTokens, Norm

INPUTS = arrays(np.float64, array_shapes(min_dims=2, max_dims=3, min_side=2, max_side=6), elements=st.floats(-50, 50))


def layer_norm_by_formula(x: np.ndarray, gain: np.ndarray, bias: np.ndarray) -> np.ndarray:
    mean = x.mean(axis=-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    return gain * (x - mean) / np.sqrt(variance + 1e-5) + bias


@given(INPUTS, st.integers(0, 1000))
def test_layer_norm_equals_its_formula(x, seed):
    generator = np.random.default_rng(seed)
    gain, bias = generator.normal(size=(2, x.shape[-1]))
    norm = LayerNorm(x.shape[-1]).double()
    with torch.no_grad():
        norm.gain.copy_(torch.from_numpy(gain))
        norm.bias.copy_(torch.from_numpy(bias))
        result = norm(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(result, layer_norm_by_formula(x, gain, bias), atol=1e-9, rtol=1e-7)


def test_layer_norm_starts_as_pure_normalisation():
    norm = LayerNorm(8)
    x = torch.randn(4, 8) * 3 + 5
    torch.testing.assert_close(norm(x).mean(-1), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(norm(x).var(-1, unbiased=False), torch.ones(4), atol=1e-4, rtol=0)


@given(INPUTS, st.integers(1, 48))
def test_a_depth_scaled_norm_is_layer_norm_over_the_root_of_its_block(x, block):
    ones, zeros = np.ones(x.shape[-1]), np.zeros(x.shape[-1])
    result = DepthScaledLayerNorm(x.shape[-1], block).double()(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(result, layer_norm_by_formula(x, ones, zeros) / block**0.5, atol=1e-9, rtol=1e-7)


@given(arrays(np.float64, array_shapes(min_dims=3, max_dims=3, min_side=2, max_side=6), elements=st.floats(-50, 50)))
def test_the_norm_over_tokens_is_layer_norm_with_tokens_and_features_exchanged(x):
    width = x.shape[-1]
    gain, bias = np.linspace(0.5, 2, width), np.linspace(-1, 1, width)
    norm = LayerNormOverTokens(width).double()
    with torch.no_grad():
        norm.gain.copy_(torch.from_numpy(gain))
        norm.bias.copy_(torch.from_numpy(bias))
        result = norm(torch.from_numpy(x)).numpy()
    exchanged = layer_norm_by_formula(x.swapaxes(1, 2), np.ones(x.shape[1]), np.zeros(x.shape[1])).swapaxes(1, 2)
    np.testing.assert_allclose(result, gain * exchanged + bias, atol=1e-9, rtol=1e-7)


def test_the_absence_of_a_norm_is_the_identity_and_no_norm():
    absent = NORMS["none"](8, 1)
    assert isinstance(absent, nn.Identity) and not isinstance(absent, Norm)
    x = torch.randn(2, 8)
    assert absent(x) is x


@pytest.mark.parametrize("name", sorted(set(NORMS) - {"none"}))
def test_every_real_norm_is_recognised_as_one_and_keeps_the_shape(name):
    norm = NORMS[name](8, 3)
    assert isinstance(norm, Norm)
    assert norm(torch.randn(2, 3, 8)).shape == (2, 3, 8)
