"""Every variant is what its name says, and every one survives padding, reordering and a batch to learn by heart."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from synthetic_batches import make_batch, make_network
from torch import nn

from lightning_modules.errors import ConfigurationError
from lightning_modules.network.context import Context
from lightning_modules.network.counting import count
from lightning_modules.network.pooling import MeanPooling
from lightning_modules.schemes.norms import Norm
from lightning_modules.schemes.streams import STREAMS
from lightning_modules.schemes.variants import INPUT, OUTPUT, POST, PRE_LN, VARIANTS

FORMULAS = {
    "post_ln": lambda layers: (2 * layers, 2 * layers),
    "pre_ln": lambda layers: (2 * layers + 1, 2 * layers),
    "no_residual": lambda layers: (2 * layers, 0),
    "no_residual_pre": lambda layers: (2 * layers + 1, 0),
    "no_norm": lambda layers: (0, 2 * layers),
    "plain": lambda layers: (0, 0),
    "article_block": lambda layers: (2 * layers, 2 * layers),
    "article_layer_norm_dim1": lambda layers: (2 * layers, 2 * layers),
    "peri_ln": lambda layers: (4 * layers + 2, 2 * layers),
    "layer_norm_scaling": lambda layers: (2 * layers + 1, 2 * layers),
    "rezero": lambda layers: (0, 2 * layers),
    "deepnorm": lambda layers: (2 * layers, 2 * layers),
    "depth_scaled_post_ln": lambda layers: (2 * layers, 2 * layers),
    "bag_of_embeddings": lambda layers: (0, 0),
}
"""Norms and skips by the number of layers."""

NORMLESS = sorted(name for name, formula in FORMULAS.items() if formula(1)[0] == 0)

LEAKING = "article_layer_norm_dim1"
"""The one variant whose rows depend on their padding."""


def test_every_variant_is_covered_here():
    assert set(FORMULAS) == set(VARIANTS)


@pytest.mark.parametrize("layers", [1, 4])
@pytest.mark.parametrize("variant", VARIANTS)
def test_norms_and_skips_are_as_many_as_the_formula_says(variant, layers):
    counts = count(make_network(variant=variant, layers=layers), length=8)
    assert (counts.norms, counts.skips) == FORMULAS[variant](layers)


@pytest.mark.parametrize("variant", NORMLESS)
def test_no_norm_means_no_norm_module_of_any_kind(variant):
    pytorchs_norms = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)
    assert not [m for m in make_network(variant=variant).modules() if isinstance(m, (Norm, *pytorchs_norms))]


def jacobian_with_silent_sublayers(variant: str) -> torch.Tensor:
    """The blocks' Jacobian when every sublayer puts out zero, so that only skips carry anything."""
    network = make_network(torch.float64, variant=variant, layers=3)
    with torch.no_grad():
        for block in network.blocks.children():
            for sublayer in (block.attention, block.feed_forward):
                sublayer.function.output.weight.zero_()
                sublayer.function.output.bias.zero_()
    context = Context(torch.ones(1, 3, dtype=torch.bool))
    x = torch.randn(1, 3, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return torch.autograd.functional.jacobian(lambda x: network.blocks(x, context), x).reshape(48, 48)


@pytest.mark.parametrize("variant", sorted(set(VARIANTS) - {"bag_of_embeddings"}))
def test_silent_sublayers_pass_nothing_on_exactly_where_there_is_no_skip(variant):
    jacobian = jacobian_with_silent_sublayers(variant)
    if FORMULAS[variant](3)[1] == 0:
        assert torch.count_nonzero(jacobian) == 0
    else:
        assert torch.linalg.matrix_rank(jacobian) > 0


@pytest.mark.parametrize("variant", ["no_norm", "pre_ln", "layer_norm_scaling", "rezero"])
def test_an_undisturbed_skip_is_the_identity(variant):
    torch.testing.assert_close(jacobian_with_silent_sublayers(variant), torch.eye(48, dtype=torch.float64))


def test_the_articles_block_ends_in_a_rectifier():
    batch = make_batch(4)
    network = make_network(variant="article_block")
    x = network.blocks(network.embedding(batch["input_ids"]), Context(batch["attention_mask"]))
    assert (x >= 0).all() and (x == 0).any()


def test_a_bag_of_embeddings_is_the_mean_of_its_embeddings():
    batch = make_batch(5)
    network = make_network(variant="bag_of_embeddings", positions="none", layers=6)
    rows = zip(batch["input_ids"], batch["attention_mask"], strict=True)
    means = torch.stack([network.embedding.tokens.weight[row[mask]].mean(dim=0) for row, mask in rows])
    torch.testing.assert_close(network(batch["input_ids"], batch["attention_mask"]), network.head(means))


@pytest.mark.parametrize("pooling", ["mean", "first"])
@pytest.mark.parametrize("variant", sorted(set(VARIANTS) - {LEAKING}))
def test_padding_changes_nothing(variant, pooling):
    network = make_network(torch.float64, variant=variant, pooling=pooling)
    batch = make_batch(6, length=8)
    input_ids, mask = batch["input_ids"], batch["attention_mask"]
    padded = F.pad(input_ids, (0, 4), value=7)  # any token will do behind the mask
    torch.testing.assert_close(network(padded, F.pad(mask, (0, 4))), network(input_ids, mask))
    alone = torch.cat([network(row[keep][None], keep[keep][None]) for row, keep in zip(input_ids, mask, strict=True)])
    torch.testing.assert_close(alone, network(input_ids, mask))


def test_the_articles_norm_over_tokens_leaks_padding_into_the_answer():
    network = make_network(torch.float64, variant=LEAKING)
    batch = make_batch(6, length=8)
    input_ids, mask = batch["input_ids"], batch["attention_mask"]
    logits = network(input_ids, mask)
    padded = network(F.pad(input_ids, (0, 4)), F.pad(mask, (0, 4)))
    assert (padded - logits).abs().max() > 1e-3 * logits.abs().max()


@pytest.mark.parametrize("variant", VARIANTS)
def test_rows_do_not_depend_on_their_order_in_the_batch(variant):
    network = make_network(torch.float64, variant=variant)
    batch = make_batch(9)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(3))
    logits = network(batch["input_ids"], batch["attention_mask"])
    torch.testing.assert_close(network(batch["input_ids"][order], batch["attention_mask"][order]), logits[order])


def loss_after_learning_by_heart(variant: str, steps: int = 150) -> float:
    network = make_network(variant=variant, width=32, seed=1).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    batch = make_batch(12)
    labels = torch.arange(12) % 3  # unrelated to the text, so only memory helps
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(network(batch["input_ids"], batch["attention_mask"]), labels)
        loss.backward()
        optimizer.step()
    return loss.item()


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_learns_one_batch_by_heart_at_two_layers(variant):
    """Without norms and skips two layers still train; depth is what stops them, and that is for the experiments."""
    assert loss_after_learning_by_heart(variant) < 0.05


def test_a_derived_variant_names_its_parent_and_changes_only_what_it_says():
    child = PRE_LN.derive("sandwich", norm_sites=PRE_LN.norm_sites | {OUTPUT})
    assert child.parent == "pre_ln"
    assert (child.norm_at(INPUT), child.norm_at(OUTPUT), child.norm_at(POST)) == ("layer_norm", "layer_norm", "none")
    assert child.residual == PRE_LN.residual


def test_a_norm_can_stand_in_one_kind_of_sublayer_only(monkeypatch):
    child = PRE_LN.derive("hybrid", norm_sites=frozenset({"attention.post"}))
    assert child.norm_at(POST, "attention") == "layer_norm"
    assert child.norm_at(POST, "feed_forward") == "none"
    monkeypatch.setitem(VARIANTS, "hybrid", child)
    for block in make_network(variant="hybrid").blocks:
        assert isinstance(block.attention.stream.post, Norm)
        assert isinstance(block.feed_forward.stream.post, nn.Identity)


def test_every_norm_site_is_built_where_a_variant_names_it(monkeypatch):
    sites = {"embedding", "input", "inner", "output", "post", "final", "qk"}
    monkeypatch.setitem(VARIANTS, "all_sites", PRE_LN.derive("all_sites", norm_sites=frozenset(sites)))
    network = make_network(variant="all_sites", layers=3)
    per_block = 2 * 4 + 2  # input, inner, output, post of two sublayers; query and key
    assert count(network, 8).norms == 3 * per_block + 2
    assert network.blocks[0].feed_forward.function.inner_norm.width == 64
    assert network.blocks[0].attention.function.query_norm.width == 4
    assert network(**{k: v for k, v in make_batch(4).items() if k in ("input_ids", "attention_mask")}).isfinite().all()


def test_queries_and_keys_are_normalised_each_by_its_own_norm_and_what_they_mix_by_the_inner_one(monkeypatch):
    monkeypatch.setitem(VARIANTS, "normed", PRE_LN.derive("normed", norm_sites=frozenset({"qk", "inner"})))
    function = make_network(torch.float64, variant="normed").blocks[0].attention.function
    for parameter in function.parameters():
        torch.nn.init.normal_(parameter)
    x, mask = torch.randn(5, 12, 16, dtype=torch.float64), make_batch(5)["attention_mask"]
    projected = function.query_key_value(x).chunk(3, dim=-1)
    query, key, value = (part.view(5, 12, 4, 4).transpose(1, 2) for part in projected)
    scores = function.query_norm(query) @ function.key_norm(key).mT / 4**0.5
    mixed = scores.masked_fill(~mask[:, None, None, :], -torch.inf).softmax(dim=-1) @ value
    expected = function.output(function.inner_norm(mixed.transpose(1, 2).flatten(2)))
    torch.testing.assert_close(function(x, Context(mask)), expected)


def test_a_row_without_tokens_has_the_mean_zero():
    mask = torch.tensor([[True, True, False], [False, False, False]])
    x = torch.arange(12.0).view(2, 3, 2)
    assert MeanPooling()(x, mask).tolist() == [[1.0, 2.0], [0.0, 0.0]]


def test_an_unknown_norm_site_is_refused_with_the_nearest_one():
    with pytest.raises(ConfigurationError, match="did you mean 'output'"):
        PRE_LN.derive("wrong", norm_sites=frozenset({"outptu"}))


def test_every_variant_has_a_stream_a_source_and_a_known_parent():
    for variant in VARIANTS.values():
        assert variant.residual in STREAMS
        assert variant.source and variant.formula
        assert variant.parent is None or variant.parent in VARIANTS


def test_each_cell_of_the_two_by_two_knows_the_variants_that_have_one_part_more():
    parts = {  # residual connections, norm (where it stands)
        "post_ln": (True, POST),
        "pre_ln": (True, INPUT),
        "no_residual": (False, POST),
        "no_residual_pre": (False, INPUT),
        "no_norm": (True, None),
        "plain": (False, None),
    }
    for name, (skips, site) in parts.items():
        one_more = {
            other
            for other, (s, n) in parts.items()
            if (not skips and s and n == site) or (s == skips and not site and n)
        }
        stated = {VARIANTS[name].parent, *VARIANTS[name].also_without}
        assert stated == one_more or (not one_more and stated <= {None, "post_ln"})


def test_a_child_does_not_inherit_with_what_its_parent_is_compared():
    assert VARIANTS["no_norm"].also_without == ("pre_ln",)
    assert VARIANTS["no_norm"].derive("child").also_without == ()
