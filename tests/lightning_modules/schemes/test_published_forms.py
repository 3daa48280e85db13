"""Published networks around a scheme: positions, activation and biases of its paper, for every block."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import torch
from torch import nn

from lightning_modules.config import ModelConfig
from lightning_modules.errors import ConfigurationError
from lightning_modules.network.feed_forward import FeedForward, SwiGlu
from lightning_modules.network.network import Network, build_network
from lightning_modules.schemes.variants import VARIANTS

WITH_FORM = [name for name, variant in VARIANTS.items() if variant.published]
IDS = torch.tensor([[3, 4, 5, 6], [7, 8, 0, 0]])


def network_of(variant: str, **settings: object) -> Network:
    config = ModelConfig(variant=variant, layers=3, width=16, heads=2, dropout=0.0, **settings)
    return build_network(config, vocabulary_size=12, outputs=2, max_length=4, padding_id=0)


@pytest.mark.parametrize("name", WITH_FORM)
def test_a_published_form_has_what_the_card_says_in_every_block(name: str) -> None:
    network, published = network_of(name, form="published"), VARIANTS[name].published
    functions = [part for part in network.modules() if isinstance(part, FeedForward)]
    assert functions
    if "activation" in published:
        assert all(isinstance(part.activation, SwiGlu) for part in functions)
    if "positions" in published:
        tables = [part for part in network.backbone.embeddings.modules() if isinstance(part, nn.Embedding)]
        assert len(tables) == 1, "rotary positions add no vectors"
    if published.get("biases") is False:
        inside = [part for _, function in network.backbone.functions() for part in function.children()]
        assert all(part.bias is None for part in inside if isinstance(part, nn.Linear))
    network.prepare(IDS, IDS > 0)
    network(IDS, IDS > 0).square().sum().backward()
    assert all(part.grad is None or bool(part.grad.isfinite().all()) for part in network.parameters())


def test_a_published_form_is_configuration_and_can_be_read_back() -> None:
    config = ModelConfig(variant="keel", form="published")
    assert (config.positions, config.activation, config.scheme.biases) == ("rotary", "swiglu", False)
    assert ModelConfig(**asdict(config)) == config
    assert replace(config, layers=2).form == "published"


def test_a_scheme_without_a_published_form_names_those_that_have_one() -> None:
    with pytest.raises(ConfigurationError, match=r"pre_ln has no published form of its own.*keel"):
        ModelConfig(variant="pre_ln", form="published")


def test_a_child_does_not_inherit_the_published_form() -> None:
    assert VARIANTS["olmo2"].published and not VARIANTS["olmo2"].derive("mine").published


def test_weights_of_unit_length_are_rows_of_the_gate_too() -> None:
    matrices = {name: matrix for _, name, matrix in network_of("ngpt", form="published").backbone.matrices()}
    assert torch.allclose(matrices["feed_forward_gate"].norm(dim=1), torch.ones(64))
    assert torch.allclose(matrices["feed_forward_output"].norm(dim=0), torch.ones(64))


def test_fixup_with_a_gate_still_learns() -> None:
    network = network_of("fixup", activation="swiglu")
    for parameter in network.head.parameters():
        nn.init.normal_(parameter)  # which starts at zero too
    network(IDS, IDS > 0).square().sum().backward()
    outputs = [part.output.weight.grad for part in network.modules() if isinstance(part, FeedForward)]
    assert all(grad is not None and float(grad.abs().max()) > 0 for grad in outputs)
