"""Every measuring function at tiny size, against autograd, an optimiser, brute force or a known property."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from experiments.studies.networks import (
    all_real,
    build,
    causal_logits,
    input_generator,
    model_config,
    networks,
    normal_stream,
    parameter_groups,
    partial_blocks,
    token_logits,
    zipf_tokens,
)
from experiments.studies.study import NetworkStudy, Start
from experiments.studies.t1_gradient_by_depth import GradientByDepth, last_matrix_gradients
from experiments.studies.t2_rank_collapse import STACKS, RankCollapse, distances_by_block, separated_distances
from experiments.studies.t3_token_alignment import TokenAlignment, by_block
from experiments.studies.t4a_jacobian_isometry import JacobianIsometry
from experiments.studies.t7a_stream_variance import StreamVariance
from experiments.studies.t10_update_size import UpdateSize, next_token_loss
from lightning_modules.network.attention import SelfAttention
from lightning_modules.network.feed_forward import FeedForward
from lightning_modules.network.network import Network

START = Start(name="tiny", width=8, heads=2, initialisation="xavier")
SIZES: dict[str, Any] = {"seeds": 3, "layers": [1, 3], "rows": 2, "length": 5}
WORDS: dict[str, Any] = {"vocabulary": 11, "positions": "learned"}
VARIANTS = ["post_ln", "pre_ln"]


def network(study: NetworkStudy, variant: str, layers: int) -> Network:
    """Build one network of a study at seed 0."""
    return build(model_config(START, variant, layers, 0, study.positions), study.vocabulary, study.length)


def by_key(rows: list[dict[str, Any]], value: str, *keys: str) -> dict[Any, float]:
    """Return one measured column by its keys."""
    return {tuple(row[key] for key in keys): row[value] for row in rows}


def test_tokens_follow_zipfs_law() -> None:
    tokens = zipf_tokens(5, 100, 100, input_generator(0))
    shares = torch.bincount(tokens.flatten(), minlength=5) / tokens.numel()
    expected = torch.tensor([0, 1, 1 / 2, 1 / 3, 1 / 4]) / (1 + 1 / 2 + 1 / 3 + 1 / 4)
    assert torch.allclose(shares, expected, atol=0.02)


def test_a_measurement_is_a_function_of_its_seed_and_leaves_the_global_generator_alone() -> None:
    setup = RankCollapse(**SIZES, stacks=["attention"], starts=[START])
    state = torch.random.get_rng_state()
    first, again, other = (setup.measure(seed) for seed in (0, 0, 1))
    assert first == again != other
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_last_matrix_gradients_are_those_of_each_tokens_loss() -> None:
    setup = GradientByDepth(**SIZES, **WORDS, variants=VARIANTS, start=START)
    built = network(setup, "pre_ln", 2)
    generator = input_generator(0)
    tokens, targets = (zipf_tokens(11, 2, 5, generator) for _ in range(2))
    found_token, found_batch = last_matrix_gradients(built, tokens, targets)
    matrix = list(built.blocks.children())[-1].get_submodule("feed_forward.function.output").weight
    logits = token_logits(built, built.blocks(built.backbone.embeddings(tokens), all_real(tokens))).flatten(0, 1)
    losses = F.cross_entropy(logits, targets.flatten(), reduction="none")
    of_tokens = [torch.autograd.grad(loss, matrix, retain_graph=True)[0] for loss in losses]
    assert found_token == pytest.approx(
        torch.stack([gradient.norm() for gradient in of_tokens]).mean().item(), rel=1e-5
    )
    assert found_batch == pytest.approx(torch.stack(of_tokens).mean(0).norm().item(), rel=1e-5)


def test_gradients_are_measured_for_every_variant_and_depth() -> None:
    setup = GradientByDepth(**SIZES, **WORDS, variants=VARIANTS, start=START)
    found = by_key(setup.measure(0), "token_gradient_norm", "variant", "layers")
    assert set(found) == {(variant, layers) for variant in VARIANTS for layers in (1, 3)}
    assert min(found.values()) > 0


def test_networks_are_built_for_every_variant_and_depth_from_the_seed() -> None:
    study = GradientByDepth(**SIZES, **WORDS, variants=VARIANTS, start=START)
    built = {(variant, layers): network for variant, layers, network in networks(study, START, seed=0)}
    assert [(key, len(list(each.blocks.children()))) for key, each in built.items()] == [
        (("post_ln", 1), 1), (("post_ln", 3), 3), (("pre_ln", 1), 1), (("pre_ln", 3), 3)
    ]  # fmt: skip
    expected = network(study, "pre_ln", 3).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in built["pre_ln", 3].state_dict().items())


def test_attention_alone_collapses_faster_than_with_a_skip() -> None:
    setup = RankCollapse(**{**SIZES, "layers": [4]}, stacks=["attention", "attention_skip"], starts=[START])
    found = by_key(setup.measure(0), "rank_one_distance", "stack", "block")
    assert found["attention", 0] == found["attention_skip", 0] > 0.5
    assert found["attention", 4] < 1e-3 * found["attention_skip", 4]


def test_attention_that_looks_everywhere_alike_collapses_at_once() -> None:
    (block,) = partial_blocks("plain", STACKS["attention"].roles, START, 1, seed=0)
    with torch.no_grad():
        block[0].function.query_key_value.weight[: START.width].zero_()
    x = torch.randn(2, 5, START.width, dtype=torch.float64)
    assert distances_by_block([block], x)[1] < 1e-14


def test_mean_and_deviation_apart_give_the_distances_that_float64_resolves() -> None:
    built = partial_blocks("plain", STACKS["attention"].roles, START, 6, seed=0)
    x = torch.randn(3, 7, START.width, dtype=torch.float64)
    apart, whole = separated_distances(built, x), distances_by_block(built, x)
    resolved = [pair for pair in zip(apart, whole, strict=True) if pair[1] > 1e-10]
    assert len(resolved) >= 3
    assert all(found == pytest.approx(expected, rel=1e-5) for found, expected in resolved)


def test_mean_and_deviation_apart_go_on_where_float64_rounds_as_many_digits_do() -> None:
    from mpmath import mp, mpf

    built = partial_blocks("plain", STACKS["attention"].roles, START, 3, seed=1)
    x = torch.randn(1, 3, START.width, dtype=torch.float64) * 1e-3 + torch.randn(1, 1, START.width, dtype=torch.float64)
    with mp.workdps(200):
        rows = [[mpf(value) for value in row] for row in x[0].tolist()]
        expected = []
        for (sublayer,) in built:
            rows = attended_with_many_digits(sublayer.function, rows)
            expected.append(distance_with_many_digits(rows))
    found = separated_distances(built, x)[1:]
    assert expected[-1] < 1e-40
    assert found == pytest.approx([float(value) for value in expected], rel=1e-6)


def attended_with_many_digits(attention: Any, rows: list[list[Any]]) -> list[list[Any]]:
    """Attention of one row of tokens by its definition, in mpmath's numbers."""
    from mpmath import exp, mpf, sqrt

    def affine(layer: Any, row: list[Any]) -> list[Any]:
        weights, biases = layer.weight.tolist(), layer.bias.tolist()
        return [
            sum(mpf(w) * v for w, v in zip(line, row, strict=True)) + mpf(b)
            for line, b in zip(weights, biases, strict=True)
        ]

    heads, width = attention.number_of_heads, len(rows[0])
    size = width // heads
    projected = [affine(attention.query_key_value, row) for row in rows]
    gathered: list[list[Any]] = [[] for _ in rows]
    for head in range(heads):
        query, key, value = (
            [row[part * width + head * size : part * width + (head + 1) * size] for row in projected]
            for part in range(3)
        )
        for place, asked in enumerate(query):
            weights = [exp(sum(a * b for a, b in zip(asked, other, strict=True)) / sqrt(mpf(size))) for other in key]
            total = sum(weights)
            gathered[place] += [sum(w * v[i] for w, v in zip(weights, value, strict=True)) / total for i in range(size)]
    return [affine(attention.output, row) for row in gathered]


def distance_with_many_digits(rows: list[list[Any]]) -> Any:
    """The distance from rank one, in mpmath's numbers."""
    from mpmath import sqrt

    mean = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    spread = sum((value - m) ** 2 for row in rows for value, m in zip(row, mean, strict=True))
    return sqrt(spread / sum(value**2 for row in rows for value in row))


@pytest.mark.parametrize("name", STACKS)
def test_a_stack_has_the_sublayers_that_its_name_says(name: str) -> None:
    blocks = partial_blocks(STACKS[name].variant, STACKS[name].roles, START, 2, seed=0)
    functions = [[type(sublayer.function) for sublayer in block] for block in blocks]
    both = name in ("attention_feed_forward", "post_ln", "pre_ln")
    assert functions == [[SelfAttention, FeedForward] if both else [SelfAttention]] * 2
    assert all(p.dtype == torch.float64 for block in blocks for sublayer in block for p in sublayer.parameters())


def test_token_cosine_and_gradient_ratio_by_block_against_brute_force() -> None:
    setup = TokenAlignment(**SIZES, **WORDS, variants=["post_ln"], start=START)
    built = network(setup, "post_ln", 1).double()
    tokens, targets = zipf_tokens(11, 2, 5, input_generator(1)), zipf_tokens(11, 2, 5, input_generator(2))
    ((number, cosine, ratio),) = by_block(built, tokens, targets)
    x = built.blocks(built.backbone.embeddings(tokens), all_real(tokens))
    pairs = [F.cosine_similarity(row[i], row[j], dim=0).item() for row in x for i, j in combinations(range(5), 2)]
    loss = F.cross_entropy(token_logits(built, x).flatten(0, 1), targets.flatten())
    fused = built.blocks[0].attention.function.query_key_value.weight
    query, _, value = torch.autograd.grad(loss, fused)[0].chunk(3)
    assert number == 1
    assert cosine == pytest.approx(np.mean(pairs))
    assert ratio == pytest.approx((query.norm() / value.norm()).item())


def test_the_jacobian_of_rezero_is_the_identity_and_that_of_others_is_autograds() -> None:
    sizes = {**SIZES, "rows": 1}
    setup = JacobianIsometry(**sizes, variants=["rezero", "pre_ln"], start=START)
    rows = setup.measure(0)
    deviations = by_key(rows, "largest_deviation", "variant", "layers")
    assert deviations["rezero", 1] == deviations["rezero", 3] == 0
    blocks = build(model_config(START, "pre_ln", 1, seed=0), vocabulary=2, length=5).double().blocks
    x = normal_stream(1, 5, START.width, input_generator(0))
    jacobian = torch.autograd.functional.jacobian(lambda x: blocks(x, all_real(x)), x).reshape(40, 40)
    largest = np.linalg.svd(jacobian.numpy(), compute_uv=False)[0]
    assert by_key(rows, "largest", "variant", "layers")["pre_ln", 1] == pytest.approx(largest)


def test_the_first_variance_is_the_embeddings_and_layer_norm_scaling_begins_in_the_second_block() -> None:
    setup = StreamVariance(**SIZES, **WORDS, variants=["pre_ln", "layer_norm_scaling"], starts=[START])
    found = by_key(setup.measure(0), "variance", "variant", "layers", "block")
    tokens = zipf_tokens(11, 2, 5, input_generator(0))
    embedded = network(setup, "pre_ln", 3).backbone.embeddings(tokens).detach().numpy()
    assert found["pre_ln", 3, 0] == pytest.approx(embedded.var(), rel=1e-5)
    assert found["layer_norm_scaling", 3, 1] == found["pre_ln", 3, 1]
    assert found["layer_norm_scaling", 3, 3] < found["pre_ln", 3, 3]


UPDATES = UpdateSize(
    **SIZES, **WORDS, variants=["post_ln", "deepnorm"], start=START, optimizers=["sgd", "adam"], step=1e-7
)


@pytest.mark.parametrize(
    ("name", "optimizer"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam)], ids=["sgd", "adam"]
)
@pytest.mark.parametrize("group", ["matrices", "norms", "all"])
def test_the_change_is_that_of_a_real_step_at_a_tiny_rate(name: str, optimizer: Any, group: str) -> None:
    model = network(UPDATES, "post_ln", 2).double()
    batch, probe = zipf_tokens(11, 2, 5, input_generator(0)), zipf_tokens(11, 2, 5, input_generator(1))
    found = {(rule, part): change for rule, part, change in UPDATES.changes(model, batch, probe)}
    rate = 1e-8
    step = optimizer(parameter_groups(model)[group], lr=rate)
    before = causal_logits(model, probe).detach()
    next_token_loss(model, batch).backward()
    step.step()
    moved = (causal_logits(model, probe).detach() - before) / rate
    assert found[name, group] == pytest.approx(moved.square().mean().sqrt().item(), rel=1e-3)


def test_measuring_an_update_leaves_the_parameters_as_they_were() -> None:
    model = network(UPDATES, "deepnorm", 2).double()
    before = [parameter.clone() for parameter in model.parameters()]
    tokens = zipf_tokens(11, 2, 5, input_generator(0))
    list(UPDATES.changes(model, tokens, tokens))
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


def test_a_causal_model_does_not_look_ahead() -> None:
    model = network(UPDATES, "post_ln", 2).double()
    tokens = zipf_tokens(11, 2, 5, input_generator(0))
    changed = tokens.clone()
    changed[:, -1] = tokens[:, -1] % 10 + 1
    first, second = causal_logits(model, tokens), causal_logits(model, changed)
    assert torch.equal(first[:, :-1], second[:, :-1]) and not torch.equal(first[:, -1], second[:, -1])


def test_updates_are_measured_for_every_variant_depth_optimiser_and_group() -> None:
    rows = replace(UPDATES, layers=[1, 2]).measure(0)
    assert len(rows) == 2 * 2 * 2 * 3 and all(row["logit_change"] > 0 for row in rows)
