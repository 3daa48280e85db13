"""A wrong model setting is one readable sentence that names the field and the way out."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lightning_modules.config import ModelConfig
from lightning_modules.errors import ConfigurationError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"variant": "pre_nl"}, "model.variant is 'pre_nl'.*did you mean 'pre_ln'"),
        ({"optimizer": "adamv"}, "model.optimizer.*did you mean 'adam"),
        ({"initialisation": "uniform"}, "model.initialisation.*choose one of: gaussian, random, xavier"),
        ({"heads": 6}, "model.heads is 6, which does not divide model.width 64; the nearest that does is (4|8)"),
        ({"width": 0}, "model.width is 0"),
        ({"layers": -1}, "model.layers is -1"),
        ({"embedding_std": 0.0}, "model.embedding_std is 0.0; it must be positive, or null"),
        ({"feed_forward_width": 0}, "model.feed_forward_width is 0"),
        ({"dropout": 1.0}, "model.dropout"),
        ({"warmup_fraction": -0.1}, "model.warmup_fraction"),
        ({"learning_rate": 0.0}, "model.learning_rate"),
        ({"learning_rate": float("inf")}, "model.learning_rate is inf; it must be finite and at most"),
        ({"weight_decay": -1.0}, "model.weight_decay"),
        ({"weight_decay": float("nan")}, "model.weight_decay is nan"),
        ({"seed": -1}, "model.seed"),
        ({"beta2": 1.0}, "model.beta2"),
        ({"schedule_epochs": 0}, "model.schedule_epochs"),
        ({"loss": "mean_squared_error", "label_smoothing": 0.1}, "model.label_smoothing.*cross_entropy"),
    ],
)
def test_a_wrong_setting_names_field_and_way_out(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        ModelConfig(**settings)


@given(width=st.integers(1, 200), heads=st.integers(1, 250))
def test_the_proposed_number_of_heads_is_valid_and_none_is_nearer(width, heads):
    assume(width % heads)
    with pytest.raises(ConfigurationError) as caught:
        ModelConfig(width=width, heads=heads)
    proposed = int(str(caught.value).split()[-1])
    assert ModelConfig(width=width, heads=proposed).heads == proposed
    assert not [h for h in range(1, width + 1) if width % h == 0 and abs(h - heads) < abs(proposed - heads)]


def test_a_variant_may_fix_the_number_of_layers():
    assert ModelConfig(variant="bag_of_embeddings", layers=6).depth == 0
    assert ModelConfig(variant="plain", layers=6).depth == 6


def test_configuration_is_free_of_torch():
    code = "import lightning_modules.config, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
