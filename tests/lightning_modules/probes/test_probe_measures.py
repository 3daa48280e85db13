"""Observing a network shows what it computed, changes nothing in it and leaves no trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from representative import REPRESENTATIVE
from synthetic_batches import make_batch, make_network
from torch import Tensor

from lightning_modules.network.context import Context
from lightning_modules.network.network import Network
from lightning_modules.network.parts import residual
from lightning_modules.network.sublayer import Branch, Residual
from lightning_modules.probes.attention_entropy import attention_probabilities
from lightning_modules.probes.measuring import STREAM_MEASURES, Measures, measure
from lightning_modules.probes.observation import observed, tensors_of
from lightning_modules.schemes.placements import PRE_LN
from lightning_modules.schemes.variants import VARIANTS

BATCH = make_batch(6)
IDS, MASK, LABELS = BATCH["input_ids"], BATCH["attention_mask"], BATCH["labels"]


def measured(network: Network, **options: Any) -> Measures:
    return measure(network, IDS, MASK, lambda logits: F.cross_entropy(logits, LABELS), **options)


@pytest.mark.parametrize("variant", REPRESENTATIVE)
def test_every_variant_is_measured_at_every_depth(variant):
    network = make_network(variant=variant, layers=3)
    measures = measured(network)
    depth = len(list(network.blocks.children()))
    for name in (*STREAM_MEASURES, "stream_gradient_norm"):
        assert len(measures.pop(name)) == depth + 1
    assert {len(values) for values in measures.values()} <= {depth}
    assert bool(measures) == (depth > 0)


def test_what_vanishes_is_not_lost_in_single_precision():
    """Distances to rank one end near 1e-7 in float32 (Dong et al. 2021 measure in float64 for that reason)."""
    network = make_network(variant="no_residual", layers=6)
    precise_network = make_network(torch.float64, variant="no_residual", layers=6)
    precise_network.load_state_dict(network.state_dict())
    found, precise = measured(network), measured(precise_network)
    assert found["rank_one_distance"][-1] < 1e-10
    for name, values in precise.items():
        assert found[name] == pytest.approx(values, rel=1e-12), name
    assert next(network.parameters()).dtype == torch.float32


def test_the_observed_stream_is_what_the_blocks_pass_on():
    network = make_network(variant="post_ln", layers=3)
    with observed(network) as observation:
        network(IDS, MASK)
    x = network.backbone.embeddings(IDS)
    for block, stream in zip(network.blocks, observation.streams()[1:], strict=True):
        x = block(x, Context(MASK))
        torch.testing.assert_close(stream, x, rtol=0, atol=0)
    for block in observation.blocks:
        for seen in block:
            written = seen.sublayer.post(seen.kept + seen.update)
            torch.testing.assert_close(seen.stream_after(), written, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("variant", "skip", "branch"),
    [
        ("no_norm", 1, 1),
        ("rezero", 1, 0),
        ("deepnorm", 6**0.25, 1),
        ("depth_scaled_post_ln", 1, 3**-0.5),
        ("plain", 1, 1),
    ],
)
def test_the_share_of_an_update_counts_the_weights_that_a_scheme_gives_it(variant, skip, branch):
    network = make_network(torch.float64, variant=variant, layers=3)
    with observed(network) as observation:
        network(IDS, MASK)
    first = observation.blocks[0][0]
    update = branch * first.sublayer.function(first.before, Context(MASK))
    share = update[MASK].norm() / (skip * network.backbone.embeddings(IDS)[MASK].norm())
    assert measured(network)["update_share_attention"][0] == pytest.approx(share.item())


def test_observed_queries_and_keys_explain_what_attention_put_out():
    network = make_network(torch.float64, variant="pre_ln")
    with observed(network) as observation:
        network(IDS, MASK)
    seen, function = observation.blocks[1][0], network.blocks[1].attention.function
    read = network.blocks[1].attention.input(seen.before)
    value = function.query_key_value(read).chunk(3, dim=-1)[2].view(6, 12, 4, 4).transpose(1, 2)
    mixed = attention_probabilities(seen.query, seen.key, MASK) @ value
    torch.testing.assert_close(function.output(mixed.transpose(1, 2).flatten(2)), seen.update)


def test_gradients_of_the_stream_and_the_matrices_are_autograds():
    network = make_network(torch.float64, variant="post_ln", layers=2)
    measures = measured(network)
    stream = network.backbone.embeddings(IDS).detach().requires_grad_()
    states = [stream]
    for block in network.blocks:
        states.append(block(states[-1], Context(MASK)))
        states[-1].retain_grad()
    F.cross_entropy(network.head(states[-1], MASK), LABELS).backward()
    assert measures["stream_gradient_norm"] == pytest.approx([float(state.grad.norm()) for state in states])
    hidden = [float(block.feed_forward.function.hidden.weight.grad.norm()) for block in network.blocks]
    assert measures["gradient_norm_feed_forward_hidden"] == pytest.approx(hidden)


def test_an_update_ratio_is_measured_where_the_weights_before_are_known():
    network = make_network()
    before = {parameter: parameter.detach().clone() for parameter in network.parameters()}
    with torch.no_grad():
        network.blocks[1].feed_forward.function.output.weight *= 1.25
    ratios = measured(network, weights_before=before)["update_ratio_feed_forward_output"]
    assert ratios == pytest.approx([0, 0.25])
    assert not [name for name in measured(network) if name.startswith("update_ratio")]


def test_measuring_leaves_modes_gradients_generators_and_hooks_alone():
    network = make_network(dropout=0.5).train()
    network.blocks[0].feed_forward.eval()
    modes = [module.training for module in network.modules()]
    before = torch.get_rng_state()
    measured(network)
    assert torch.equal(torch.get_rng_state(), before)
    assert [module.training for module in network.modules()] == modes
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not [module for module in network.modules() if module._forward_hooks or module._forward_pre_hooks]


def test_hooks_are_gone_after_an_error():
    network = make_network()
    with pytest.raises(IndexError), observed(network):
        network(IDS + 1000, MASK)
    assert not [module for module in network.modules() if module._forward_hooks]


def test_dropout_is_off_while_measuring():
    assert measured(make_network(dropout=0.5).train()) == measured(make_network(dropout=0.0))


@pytest.mark.parametrize("variant", ["pre_ln", "plain", "article_block"])
def test_padding_changes_no_measure(variant):
    network = make_network(torch.float64, variant=variant)
    wider = {"input_ids": F.pad(IDS[:, :8], (0, 3)), "mask": F.pad(MASK[:, :8], (0, 3))}

    def loss(logits: Tensor) -> Tensor:
        return F.cross_entropy(logits, LABELS)

    expected = measure(network, IDS[:, :8], MASK[:, :8], loss)
    found = measure(network, wider["input_ids"], wider["mask"], loss)
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, rel=1e-6, abs=1e-9), name


def test_weights_that_are_not_finite_give_nan_and_no_error():
    network = make_network()
    torch.nn.init.constant_(network.blocks[0].feed_forward.function.output.weight, torch.nan)
    measures = measured(network)
    assert measures["stream_rms"][1] != measures["stream_rms"][1]
    assert measures["jacobian_largest"][0] != measures["jacobian_largest"][0]


class TwoStreams(Residual):
    """A state of two parts: the stream, and the sum of all updates."""

    def open(self, x: Tensor) -> Any:
        return {"stream": x, "updates": [torch.zeros_like(x)]}

    def forward(self, state: Any, branch: Branch) -> Any:
        y = branch(state["stream"])
        return {"stream": state["stream"] + y, "updates": [state["updates"][0] + y]}

    def close(self, state: Any, final: Callable[[Tensor], Tensor]) -> Tensor:
        return final(state["stream"])


def test_a_scheme_whose_state_is_no_tensor_is_measured_like_any_other(monkeypatch):
    monkeypatch.setitem(residual, "two_streams", TwoStreams)
    monkeypatch.setitem(VARIANTS, "two_streams", PRE_LN.derive("two_streams", residual="two_streams"))
    twice, once = measured(make_network(variant="two_streams")), measured(make_network(variant="pre_ln"))
    for name, values in once.items():
        assert twice[name] == pytest.approx(values, rel=1e-4, abs=1e-6), name
    assert len(tensors_of({"stream": IDS, "updates": [IDS, (IDS,)]})) == 3
