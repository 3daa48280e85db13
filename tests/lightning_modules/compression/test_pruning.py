"""What pruning leaves of a network computes what the whole network does with the parts' outputs set to zero."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, cast

import pytest
import torch

from lightning_modules.compression.pruning import (
    KeptZeros,
    blocks_in,
    functions_of,
    importance_of_blocks,
    prune_heads,
    prune_units,
    prune_weights,
    without_blocks,
)
from lightning_modules.config import ModelConfig
from lightning_modules.errors import ConfigurationError
from lightning_modules.network.attention import SelfAttention
from lightning_modules.network.counting import parameters_in
from lightning_modules.network.feed_forward import FeedForward
from lightning_modules.network.network import Network, build_network

IDS = torch.randint(1, 20, (5, 7), generator=torch.Generator().manual_seed(1))
MASK = torch.arange(7) < torch.tensor([7, 6, 5, 3, 1])[:, None]


def network_of(variant: str = "pre_ln", layers: int = 3, **settings: Any) -> Network:
    config = ModelConfig(variant=variant, layers=layers, width=16, heads=4, **settings)
    network = build_network(config, vocabulary_size=20, outputs=3, max_length=8, padding_id=0).eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.blocks.parameters():  # biases too, which start at zero
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return network


@torch.no_grad()
def logits(network: Network) -> torch.Tensor:
    return network(IDS, MASK)


@pytest.mark.parametrize("variant", ["pre_ln", "post_ln", "no_norm", "no_residual", "qk_norm_head"])
@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_a_network_without_heads_is_one_whose_heads_are_silent(variant: str, positions: str) -> None:
    network = network_of(variant, positions=positions)
    silent, smaller = deepcopy(network), deepcopy(network)
    with torch.no_grad():
        for attention in functions_of(silent, SelfAttention):
            value, output = attention.query_key_value.weight[32:], attention.output.weight
            size = torch.stack(
                [value[4 * h : 4 * h + 4].norm() * output[:, 4 * h : 4 * h + 4].norm() for h in range(4)]
            )
            for head in size.argsort()[:2].tolist():
                output[:, 4 * head : 4 * head + 4] = 0
    assert prune_heads(smaller, 0.5) == 2
    torch.testing.assert_close(logits(smaller), logits(silent))
    assert not torch.allclose(logits(smaller), logits(network), atol=1e-3)
    assert parameters_in(network) - parameters_in(smaller) == 3 * (3 * 8 * 16 + 3 * 8 + 8 * 16)


@pytest.mark.parametrize("activation", ["relu", "gelu", "swiglu"])
def test_a_network_without_units_is_one_whose_units_are_silent(activation: str) -> None:
    network = network_of(activation=activation, feed_forward_width=10)
    silent, smaller = deepcopy(network), deepcopy(network)
    with torch.no_grad():
        for function in functions_of(silent, FeedForward):
            first = function.hidden.weight.view(-1, 10, 16).pow(2).sum(dim=(0, 2)).sqrt()
            function.output.weight[:, (first * function.output.weight.norm(dim=0)).argsort()[:4]] = 0
    assert prune_units(smaller, 0.4) == 4
    torch.testing.assert_close(logits(smaller), logits(silent))
    gates = 2 if activation == "swiglu" else 1
    assert parameters_in(network) - parameters_in(smaller) == 3 * 4 * (gates * 17 + 16)


def test_the_smallest_weights_of_all_blocks_go_and_stay_away_while_training() -> None:
    network = network_of()
    before = torch.cat([p.abs().flatten() for n, p in network.blocks.named_parameters() if p.dim() == 2])
    masks = prune_weights(network, 0.75)
    after = torch.cat([p.flatten() for n, p in network.blocks.named_parameters() if p.dim() == 2])
    assert int((after == 0).sum()) == int(0.75 * len(before))
    assert float(after.detach()[after != 0].abs().min()) >= float(before.quantile(0.75)) * 0.999
    with torch.no_grad():
        for parameter in network.blocks.parameters():
            parameter.add_(1.0)
    module = torch.nn.Module()
    module.network = network
    KeptZeros(masks).on_train_batch_end(cast(Any, None), cast(Any, module))
    again = torch.cat([p.flatten() for n, p in network.blocks.named_parameters() if p.dim() == 2])
    assert torch.equal(again == 0, after == 0)


@pytest.mark.parametrize("variant", ["pre_ln", "post_ln", "no_norm", "plain"])
def test_a_network_without_blocks_is_the_composition_of_the_others(variant: str) -> None:
    network = network_of(variant, layers=4)
    smaller = without_blocks(network, {1, 2})
    from lightning_modules.network.context import Context

    context = Context(MASK, step=network.backbone.step)
    with torch.no_grad():
        x = network.backbone.embeddings(IDS, context)
        for index in (0, 3):
            x = list(network.blocks.children())[index](x, context)
        expected = network.head(network.backbone.final(x), MASK)
    torch.testing.assert_close(logits(smaller), expected)
    assert blocks_in(network) == 4 and blocks_in(smaller) == 2


def test_a_residual_network_whose_branches_are_alike_keeps_its_sum_by_rescaling() -> None:
    network = network_of("no_norm", layers=4)
    with torch.no_grad():
        for _, function in network.backbone.functions():  # each adds its bias alone
            for parameter in function.get_submodule("output").parameters():
                parameter.fill_(0.25 if parameter.dim() == 1 else 0.0)
    torch.testing.assert_close(logits(without_blocks(network, {0}, rescale=True)), logits(network))
    assert not torch.allclose(logits(without_blocks(network, {0})), logits(network), atol=1e-2)


def test_all_blocks_may_go_and_none_leaves_the_network_as_it_is() -> None:
    network = network_of()
    assert torch.equal(logits(without_blocks(network, ())), logits(network))
    with torch.no_grad():
        x = network.backbone.final(network.backbone.embeddings(IDS))
        torch.testing.assert_close(logits(without_blocks(network, range(3), rescale=True)), network.head(x, MASK))


def test_importance_is_the_rise_of_the_loss_without_a_block() -> None:
    network = network_of()
    whole = logits(network)
    rises = importance_of_blocks(network, lambda other: float((logits(other) - whole).abs().sum()))
    for index, rise in enumerate(rises):
        assert rise == pytest.approx(float((logits(without_blocks(network, {index})) - whole).abs().sum()))


def test_what_cannot_go_is_refused_with_the_reason() -> None:
    for share in (-0.1, 1.0, float("nan")):
        for prune in (prune_weights, prune_heads, prune_units):
            with pytest.raises(ConfigurationError, match="at least 0 and below 1"):
                prune(network_of(), share)
    with pytest.raises(ConfigurationError, match="no block 3"):
        without_blocks(network_of(), {3})
    with pytest.raises(ConfigurationError, match="depend on each other"):
        prune_heads(network_of("norm_former"), 0.5)
    assert prune_heads(network_of(), 0.99) == 3 and prune_units(network_of(), 0.99) == 63
