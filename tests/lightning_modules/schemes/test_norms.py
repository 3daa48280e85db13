"""Norms follow their formulas."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from lightning_modules.network.sites import Site
from lightning_modules.schemes.norms import LayerNorm, LayerNormOverTokens
from lightning_modules.schemes.place import Place

INPUTS = arrays(np.float64, array_shapes(min_dims=2, max_dims=3, min_side=2, max_side=6), elements=st.floats(-50, 50))


def layer_norm_by_formula(x: np.ndarray, gain: np.ndarray, bias: np.ndarray) -> np.ndarray:
    mean = x.mean(axis=-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    return gain * (x - mean) / np.sqrt(variance + 1e-5) + bias


def applied(norm: LayerNorm, x: np.ndarray, gain: np.ndarray, bias: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        norm.double().gain.copy_(torch.from_numpy(gain))
        norm.bias.copy_(torch.from_numpy(bias))
        return norm(torch.from_numpy(x)).numpy()


@given(INPUTS, st.integers(0, 1000))
def test_layer_norm_equals_its_formula(x, seed):
    gain, bias = np.random.default_rng(seed).normal(size=(2, x.shape[-1]))
    result = applied(LayerNorm(x.shape[-1], Place(width=x.shape[-1])), x, gain, bias)
    np.testing.assert_allclose(result, layer_norm_by_formula(x, gain, bias), atol=1e-9, rtol=1e-7)


def test_layer_norm_starts_as_pure_normalisation():
    norm = LayerNorm(8, Place(width=8))
    x = torch.randn(4, 8) * 3 + 5
    torch.testing.assert_close(norm(x).mean(-1), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(norm(x).var(-1, unbiased=False), torch.ones(4), atol=1e-4, rtol=0)


@given(arrays(np.float64, array_shapes(min_dims=3, max_dims=3, min_side=2, max_side=6), elements=st.floats(-50, 50)))
def test_the_norm_over_tokens_is_layer_norm_with_tokens_and_features_exchanged(x):
    width = x.shape[-1]
    gain, bias = np.linspace(0.5, 2, width), np.linspace(-1, 1, width)
    result = applied(LayerNormOverTokens(width, Place(width=width)), x, gain, bias)
    exchanged = layer_norm_by_formula(x.swapaxes(1, 2), np.ones(x.shape[1]), np.zeros(x.shape[1])).swapaxes(1, 2)
    np.testing.assert_allclose(result, gain * exchanged + bias, atol=1e-9, rtol=1e-7)


def test_the_absence_of_a_norm_is_an_empty_site():
    x = torch.randn(2, 8)
    assert Site()(x) is x
    assert not list(Site().parameters())
