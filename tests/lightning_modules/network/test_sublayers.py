"""Sublayers, blocks and sites are built as a variant's data says, also where no published scheme here needs it yet."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scheme_weights import Weights, disturb
from synthetic_batches import make_batch, make_network
from torch import nn

from lightning_modules.errors import ConfigurationError
from lightning_modules.network.attention import SelfAttention, attend
from lightning_modules.network.context import Context
from lightning_modules.network.counting import count
from lightning_modules.network.heads import MeanPooling
from lightning_modules.network.parts import op
from lightning_modules.network.sites import Norm
from lightning_modules.network.sublayer import Residual
from lightning_modules.probes.gradients import weight_matrices
from lightning_modules.schemes.place import Place
from lightning_modules.schemes.placements import NO_NORM, POST_LN, PRE_LN
from lightning_modules.schemes.variants import FINAL, NORM, OUTPUT, SITES, VARIANTS, Variant, use

BATCH = make_batch(5)
IDS, MASK = BATCH["input_ids"], BATCH["attention_mask"]


def build(monkeypatch: pytest.MonkeyPatch, variant: Variant, **settings: Any) -> Any:
    """A network of a variant that is registered for this test alone."""
    monkeypatch.setitem(VARIANTS, variant.name, variant)
    return make_network(torch.float64, variant=variant.name, **settings)


def test_every_site_is_built_where_a_variant_names_it(monkeypatch):
    sites = [site for site in SITES if site != "logits"]
    network = build(monkeypatch, PRE_LN.derive("all_sites", sites=dict.fromkeys(sites, NORM)), layers=3)
    per_block = 2 * 5 + 4 + 1  # input, skip, output, post, inner, twice; query, key, value, heads; hidden
    assert count(network, 8).norms == 3 * per_block + 3  # tokens, embedding, final
    function = network.blocks[0].attention.function
    assert {function.query[0].width, function.value[0].width, function.heads[0].width} == {4}
    assert network.blocks[0].feed_forward.function.before_activation[0].width == 64
    assert network(IDS, MASK).isfinite().all()


def test_a_norm_can_stand_in_one_kind_of_sublayer_only(monkeypatch):
    for block in build(monkeypatch, PRE_LN.derive("hybrid", sites={"attention.post": NORM})).blocks:
        assert isinstance(block.attention.post[0], Norm)
        assert len(block.feed_forward.post) == 0


def test_queries_and_keys_are_normalised_each_by_its_own_norm_and_what_they_mix_by_the_inner_one(monkeypatch):
    variant = PRE_LN.derive("normed", sites=dict.fromkeys(("query", "key", "inner"), NORM))
    function = disturb(build(monkeypatch, variant), size=0.5).blocks[0].attention.function
    x = torch.randn(5, 12, 16, dtype=torch.float64)
    projected = function.query_key_value(x).chunk(3, dim=-1)
    query, key, value = (part.view(5, 12, 4, 4).transpose(1, 2) for part in projected)
    scores = function.query[0](query) @ function.key[0](key).mT / 4**0.5
    mixed = scores.masked_fill(~MASK[:, None, None, :], -torch.inf).softmax(dim=-1) @ value
    expected = function.output(function.inner[0](mixed.transpose(1, 2).flatten(2)))
    torch.testing.assert_close(function(x, Context(MASK)), expected)


def test_attention_and_feed_forward_can_stand_side_by_side(monkeypatch):
    """Each has its own norm here, as in GPT-NeoX; with one ``input`` site they would share it, as in GPT-J."""
    sites = {"attention.input": NORM, "feed_forward.input": NORM, FINAL: NORM}
    network = disturb(build(monkeypatch, PRE_LN.derive("neo", parallel=True, sites=sites), layers=3), size=0.1)
    x = torch.randn(5, 12, 16, dtype=torch.float64)
    expected = x
    for block in network.blocks:
        whole = Weights(block.parallel, MASK)
        branches = []
        for role in ("attention", "feed_forward"):
            weights = Weights(block.parallel, MASK)
            prefix = f"function.{role}."
            weights.parameters = {
                k.removeprefix(prefix): v for k, v in whole.parameters.items() if k.startswith(prefix)
            }
            branches.append(weights.f(weights.ln(expected, "input.0")))
        expected = expected + branches[0] + branches[1]
    torch.testing.assert_close(network.blocks(x, Context(MASK)), expected)
    assert count(network, 8).skips == 3
    shared = build(monkeypatch, PRE_LN.derive("gpt_j", parallel=True), layers=3)
    assert (count(network, 8).norms, count(shared, 8).norms) == (7, 4)
    assert list(weight_matrices(network.blocks[0])) == list(weight_matrices(make_network().blocks[0]))


def test_blocks_need_not_be_alike(monkeypatch):
    """Post-LN in the first block and Pre-LN after it: at either end of the rule it is one of the two, bit for bit."""

    def mixed(name: str, posts: int, parent: Variant) -> Any:
        def rule(place: Place) -> Variant:
            return POST_LN if place.block <= posts else PRE_LN

        return build(monkeypatch, parent.derive(name, by_place=rule), layers=3)

    for name, posts, parent in (("none", 0, PRE_LN), ("all", 3, POST_LN)):
        assert torch.equal(
            mixed(name, posts, parent)(IDS, MASK), make_network(torch.float64, variant=parent.name, layers=3)(IDS, MASK)
        )
    blocks = mixed("some", 1, PRE_LN).blocks
    assert [len(block.attention.post) for block in blocks] == [1, 0, 0]


class SharedGate(Residual):
    """One gate for both sublayers of a block."""

    def __init__(self, place):
        super().__init__(place)
        self.gate = nn.Parameter(torch.rand(()))

    def meet(self, earlier):
        if earlier:
            self.gate = earlier[0].gate

    def forward(self, state, branch):
        return state + self.gate * branch(state)


def test_the_residuals_of_a_block_can_share_and_draw_by_themselves(monkeypatch):
    network = build(monkeypatch, NO_NORM.derive("shared", residual=SharedGate), layers=2)
    first, second = network.blocks
    assert first.attention.residual.gate is first.feed_forward.residual.gate
    assert second.attention.residual.gate != first.attention.residual.gate
    plain = make_network(torch.float64, variant="no_norm", layers=2)
    for (_, name, mine), (_, _, theirs) in zip(network.backbone.matrices(), plain.backbone.matrices(), strict=True):
        assert torch.equal(mine, theirs), name


def test_linear_maps_without_biases_start_as_those_with_them(monkeypatch):
    bare, usual = build(monkeypatch, PRE_LN.derive("bare", biases=False)), make_network(torch.float64)
    assert not [name for name, _ in bare.blocks.named_parameters() if name.endswith("bias") and "function" in name]
    for (_, _, mine), (_, _, theirs) in zip(bare.backbone.matrices(), usual.backbone.matrices(), strict=True):
        assert torch.equal(mine, theirs)


class StepGain(nn.Module):
    """Multiplies by the number of the step; looks at the mask, too."""

    uses_context = True

    def __init__(self, width, place, scale=1.0):
        super().__init__()
        self.scale = scale

    def forward(self, x, context):
        return self.scale * context.step * context.attention_mask[..., None] * x


def test_an_op_may_see_step_and_mask_and_take_options(monkeypatch):
    monkeypatch.setitem(op, "step_gain", StepGain)
    network = build(monkeypatch, NO_NORM.derive("ramped", sites={OUTPUT: use("step_gain", scale=0.5)}))
    embedded = network.backbone.embeddings(IDS)
    assert torch.equal(network.backbone(IDS, MASK), embedded)
    network.after_step()
    network.after_step()
    assert network.blocks[0].attention.output[0].scale == 0.5
    torch.testing.assert_close(
        network.backbone(IDS, MASK)[MASK], make_network(torch.float64, variant="no_norm").backbone(IDS, MASK)[MASK]
    )


class ResidualLogits(SelfAttention):
    """Attention that hands its values to later blocks."""

    def mix(self, query, key, value, context):
        first = context.shared.setdefault("value", value)
        return super().mix(query, key, value + first, context)


def test_attention_can_hand_something_to_later_blocks(monkeypatch):
    network = build(monkeypatch, PRE_LN.derive("handing", attention=ResidualLogits), layers=2)
    seen = []
    for block in network.blocks:
        block.attention.function.value.register_forward_hook(lambda module, arguments, output: seen.append(output))
    context = Context(MASK)
    network.blocks(network.backbone.embeddings(IDS), context)
    assert torch.equal(context.shared["value"], seen[0]) and not torch.equal(seen[0], seen[1])


@pytest.mark.parametrize("promoted", ["query", "key", "value"])
def test_attention_takes_inputs_of_which_an_op_raised_the_precision(promoted):
    parts = {name: torch.randn(2, 1, 3, 4, dtype=torch.bfloat16) for name in ("query", "key", "value")}
    parts[promoted] = parts[promoted].float()
    expected = (parts["query"].float() @ parts["key"].float().mT / 2).softmax(-1) @ parts["value"].float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = attend(**parts, key_mask=torch.ones(2, 1, 1, 3, dtype=torch.bool))
    torch.testing.assert_close(mixed, expected)


def test_an_unknown_op_is_refused_with_the_nearest_one(monkeypatch):
    with pytest.raises(ConfigurationError, match=r"op is 'layer_nrom'.*did you mean 'layer_norm'"):
        build(monkeypatch, PRE_LN.derive("wrong", norm="layer_nrom"))
    with pytest.raises(ConfigurationError, match="the op 'layer_norm' is there already"):
        op("layer_norm")(Norm)


def test_a_row_without_tokens_has_the_mean_zero():
    mask = torch.tensor([[True, True, False], [False, False, False]])
    x = torch.arange(12.0).view(2, 3, 2)
    assert MeanPooling()(x, mask).tolist() == [[1.0, 2.0], [0.0, 0.0]]


def test_context_masks_are_what_attention_needs():
    context = Context(MASK, causal=True)
    allowed = context.key_mask[:, 0]
    for query in range(12):
        for key in range(12):
            assert torch.equal(allowed[:, query, key], MASK[:, key] & torch.tensor(key <= query))
    assert torch.equal(Context(MASK).key_mask[:, 0, 0], MASK)
