"""Every scheme is its paper's formula, written by hand: forward, every gradient, norms, skips and own parameters.

A new variant gets one entry in ``EXPECTED``; ``test_every_scheme.py`` asks for the rest by itself.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from expected import FIRST, OUTPUTS, WIDTH, Expected
from expected_blocks import BLOCKS
from expected_memory import MEMORY
from expected_norms import NORMS
from scheme_weights import Weights, disturb
from synthetic_batches import make_batch, make_network

from lightning_modules.network.counting import norms_in, parameters_in, skips_in
from lightning_modules.network.network import Network
from lightning_modules.schemes.place import Place
from lightning_modules.schemes.variants import VARIANTS

LAYERS, STEP = 3, 1250

EXPECTED: dict[str, Expected] = FIRST | NORMS | BLOCKS | MEMORY
"""What a paper says about every scheme."""


def test_every_variant_is_expected_to_be_something() -> None:
    assert set(EXPECTED) == set(VARIANTS)


def away_from_its_start(variant: str) -> Network:
    """A network whose parameters, running statistics and step are such that everything takes part."""
    network = disturb(make_network(torch.float64, variant=variant, layers=LAYERS, initialisation_gain=2.0), size=0.1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        network.backbone.step.fill_(STEP)
        for buffer in (*network.blocks.buffers(), *network.backbone.final.buffers()):
            if buffer.is_floating_point():
                buffer.add_(torch.rand(buffer.shape, generator=generator, dtype=buffer.dtype))
    return network


@pytest.mark.parametrize("variant", EXPECTED)
def test_a_network_is_its_formula_forward_and_backward(variant: str) -> None:
    expected, batch = EXPECTED[variant], make_batch(5)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    network = away_from_its_start(variant)
    parameters = dict(network.named_parameters())
    whole = Weights(network.backbone, mask, Place(width=WIDTH, heads=4))
    head = Weights(network, mask, whole.place)

    x = parameters["backbone.embeddings.table.weight"][ids]
    x = expected.tokens(whole, x) if expected.tokens else x
    x = x + parameters["backbone.embeddings.positions.embedding.weight"]
    x = expected.norm(whole, x, "embeddings.embedding.0") if expected.embedding else x
    sublayers = [Weights(sublayer, mask) for sublayer in network.blocks.sublayers()]
    for weights in sublayers:
        weights.step = STEP
    kept: torch.Tensor | float = 0.0
    if expected.whole is not None:
        ended = expected.whole(sublayers, x)
        kept, x = ended if isinstance(ended, tuple) else (0.0, ended)
    else:
        for weights in sublayers:
            assert expected.step is not None
            x = expected.step(weights, x)
    x = kept + (expected.norm(whole, x, "final.0") if expected.final else x)
    pooled = torch.stack([row[real].mean(dim=0) for row, real in zip(x, mask, strict=True)])
    by_hand = pooled @ parameters["head.linear.weight"].T + parameters["head.linear.bias"]
    by_hand = expected.logits(head, by_hand) if expected.logits else by_hand

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
    expected = EXPECTED[variant]
    built = layers if expected.step or expected.whole else 0
    with torch.device("meta"):
        network = make_network(variant=variant, layers=layers)
    norms = norms_in(network)
    assert (norms, skips_in(network)) == (expected.norms(layers), expected.skips(layers))
    matrices = built * (12 * WIDTH**2 + 9 * WIDTH * expected.biases) - expected.missing(layers)
    matrices += (40 + 12) * WIDTH + OUTPUTS * WIDTH + OUTPUTS
    of_norms = (expected.norm_parameters or 0) * WIDTH * norms
    assert parameters_in(network) == matrices + of_norms + expected.own(layers)


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
