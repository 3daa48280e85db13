"""Every scheme is its paper's formula, written by hand: forward, every gradient, norms, skips and own parameters.

A new variant gets one entry in ``EXPECTED``; ``test_every_scheme.py`` asks for the rest by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from scheme_weights import Weights, disturb
from synthetic_batches import make_batch, make_network
from torch import Tensor

from lightning_modules.network.counting import count
from lightning_modules.schemes.variants import VARIANTS

LAYERS, WIDTH = 3, 16
Step = Callable[[Weights, Tensor], Tensor]
"""From a sublayer's weights and the stream ``(B, T, D)`` to the new stream."""


@dataclass(frozen=True)
class Expected:
    """What a paper says about a scheme with L blocks; ``None`` for a step means that there are no blocks."""

    step: Step | None
    norms: Callable[[int], int]
    skips: Callable[[int], int]
    embedding: bool = False
    """Whether a norm follows the embeddings."""
    final: bool = False
    """Whether a norm precedes the head."""
    own: Callable[[int], int] = lambda layers: 0
    """Parameters that are neither matrices, biases, embeddings nor norms."""
    norm_parameters: int = 2
    """Parameters of a norm per channel."""


def both(layers: int) -> int:
    return 2 * layers


def none(layers: int) -> int:
    return 0


def over_tokens(w: Weights, x: Tensor, name: str) -> Tensor:
    centred = x - x.mean(dim=1, keepdim=True)
    return w[f"{name}.gain"] * centred / (centred.square().mean(dim=1, keepdim=True) + 1e-5).sqrt() + w[f"{name}.bias"]


EXPECTED: dict[str, Expected] = {
    "post_ln": Expected(lambda w, x: w.ln(x + w.f(x), "post.0"), both, both),
    "pre_ln": Expected(lambda w, x: x + w.f(w.ln(x, "input.0")), lambda layers: 2 * layers + 1, both, final=True),
    "no_residual": Expected(lambda w, x: w.ln(w.f(x), "post.0"), both, none),
    "no_residual_pre": Expected(lambda w, x: w.f(w.ln(x, "input.0")), lambda layers: 2 * layers + 1, none, final=True),
    "no_norm": Expected(lambda w, x: x + w.f(x), none, both),
    "plain": Expected(lambda w, x: w.f(x), none, none),
    "article_block": Expected(lambda w, x: w.ln(x + w.f(x), "post.0").clamp(min=0), both, both),
    "article_layer_norm_dim1": Expected(lambda w, x: over_tokens(w, x + w.f(x), "post.0"), both, both),
    "peri_ln": Expected(
        lambda w, x: x + w.ln(w.f(w.ln(x, "input.0")), "output.0"),
        lambda layers: 4 * layers + 2,
        both,
        embedding=True,
        final=True,
    ),
    "layer_norm_scaling": Expected(
        lambda w, x: x + w.f(w.ln(x, "input.0") / math.sqrt(w.block)), lambda layers: 2 * layers + 1, both, final=True
    ),
    "rezero": Expected(lambda w, x: x + w["output.0.gain"] * w.f(x), none, both, own=both),
    "deepnorm": Expected(lambda w, x: w.ln((2 * w.blocks) ** 0.25 * x + w.f(x), "post.0"), both, both),
    "depth_scaled_post_ln": Expected(lambda w, x: w.ln(x + w.f(x) / math.sqrt(w.blocks), "post.0"), both, both),
    "bag_of_embeddings": Expected(None, none, none),
}


def test_every_variant_is_expected_to_be_something() -> None:
    assert set(EXPECTED) == set(VARIANTS)


@pytest.mark.parametrize("variant", EXPECTED)
def test_a_network_is_its_formula_forward_and_backward(variant: str) -> None:
    expected, batch = EXPECTED[variant], make_batch(5)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    network = disturb(make_network(torch.float64, variant=variant, layers=LAYERS, initialisation_gain=2.0), size=0.1)
    parameters = dict(network.named_parameters())

    def norm_after(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, (WIDTH,), parameters[f"backbone.{name}.gain"], parameters[f"backbone.{name}.bias"])

    x = parameters["backbone.embeddings.table.weight"][ids]
    x = x + parameters["backbone.embeddings.positions.embedding.weight"]
    x = norm_after(x, "embeddings.embedding.0") if expected.embedding else x
    for sublayer in network.blocks.sublayers():
        assert expected.step is not None
        x = expected.step(Weights(sublayer, mask), x)
    x = norm_after(x, "final.0") if expected.final else x
    pooled = torch.stack([row[real].mean(dim=0) for row, real in zip(x, mask, strict=True)])
    by_hand = pooled @ parameters["head.linear.weight"].T + parameters["head.linear.bias"]

    ours = network(ids, mask)
    torch.testing.assert_close(ours, by_hand)
    weight = torch.randn(by_hand.shape, dtype=by_hand.dtype, generator=torch.Generator().manual_seed(4))
    gradients = [torch.autograd.grad((out * weight).sum(), list(parameters.values())) for out in (ours, by_hand)]
    for name, one, other in zip(parameters, *gradients, strict=True):
        other = (
            other.index_fill(0, torch.tensor(0), 0.0) if name.endswith("table.weight") else other
        )  # padding is still
        torch.testing.assert_close(one, other, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("layers", [1, 4])
@pytest.mark.parametrize("variant", EXPECTED)
def test_norms_skips_and_parameters_are_as_many_as_the_paper_says(variant: str, layers: int) -> None:
    expected, built = EXPECTED[variant], layers if EXPECTED[variant].step else 0
    counts = count(make_network(variant=variant, layers=layers), length=8)
    assert (counts.norms, counts.skips) == (expected.norms(layers), expected.skips(layers))
    matrices = built * (12 * WIDTH**2 + 9 * WIDTH) + (40 + 12) * WIDTH + 3 * WIDTH + 3
    assert counts.parameters == matrices + expected.norm_parameters * WIDTH * counts.norms + expected.own(layers)


# What a paper says about constants and the start.


@pytest.mark.parametrize(("blocks", "skip", "branch"), [(6, 1.861, 0.380), (12, 2.213, 0.319), (24, 2.632, 0.269)])
def test_deepnorms_constants_are_those_of_its_table(blocks: int, skip: float, branch: float) -> None:
    plain, scaled = (
        make_network(variant=variant, layers=blocks, width=8, heads=1) for variant in ("post_ln", "deepnorm")
    )
    assert scaled.blocks[0].attention.skip(torch.ones(())).item() == pytest.approx(skip, abs=5e-4)
    for (_, name, before), (_, _, after) in zip(plain.backbone.matrices(), scaled.backbone.matrices(), strict=True):
        gain = 1.0 if name in ("attention_query", "attention_key") else branch
        assert (after.norm() / before.norm()).item() == pytest.approx(gain, abs=5e-4)


def test_rezero_starts_as_the_identity_and_only_its_branch_weights_feel_the_first_gradient() -> None:
    network, batch = make_network(variant="rezero", layers=5), make_batch(4)
    x = network.backbone.embeddings(batch["input_ids"])
    assert torch.equal(network.backbone(batch["input_ids"], batch["attention_mask"]), x)
    network(batch["input_ids"], batch["attention_mask"]).sum().backward()
    for name, parameter in network.blocks.named_parameters():
        assert (parameter.grad.abs().max() > 0) == name.endswith("output.0.gain"), name


def test_the_articles_block_ends_in_a_rectifier() -> None:
    batch = make_batch(4)
    x = make_network(variant="article_block").backbone(batch["input_ids"], batch["attention_mask"])
    assert (x >= 0).all() and (x == 0).any()


def test_the_articles_norm_over_tokens_leaks_padding_into_the_answer() -> None:
    network, batch = make_network(torch.float64, variant="article_layer_norm_dim1"), make_batch(6, length=8)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    logits = network(ids, mask)
    padded = network(F.pad(ids, (0, 4)), F.pad(mask, (0, 4)))
    assert (padded - logits).abs().max() > 1e-3 * logits.abs().max()


def test_a_bag_of_embeddings_is_the_mean_of_its_embeddings() -> None:
    batch, network = make_batch(5), make_network(variant="bag_of_embeddings", positions="none", layers=6)
    rows = zip(batch["input_ids"], batch["attention_mask"], strict=True)
    means = torch.stack([network.backbone.embeddings.table.weight[row[mask]].mean(dim=0) for row, mask in rows])
    torch.testing.assert_close(network(batch["input_ids"], batch["attention_mask"]), network.head.linear(means))
