"""A population's forward pass and optimiser steps equal those of its members alone."""

from __future__ import annotations

import pytest
import torch
from population_members import (
    STEPS,
    TIGHT,
    assert_equal_to_solo,
    build,
    configs,
    member_batch,
    train_alone,
    train_together,
)
from synthetic_batches import FACTS, make_batch

from lightning_modules.errors import ConfigurationError
from lightning_modules.population.batch import stack_batches
from lightning_modules.population.dropout import own_masks
from lightning_modules.population.network import PopulationNetwork, batchable_attention, member_losses
from lightning_modules.population.optimizer import PopulationOptimizer
from lightning_modules.population.requirements import refuse_unlike
from lightning_modules.schemes.variants import VARIANTS
from lightning_modules.training.losses import build_training_loss

STACKABLE = [name for name in VARIANTS if name != "article_layer_norm_dim1"]


@pytest.mark.parametrize("variant", STACKABLE)
def test_stacked_logits_are_those_of_each_member(variant):
    members = configs(variant=variant)
    networks = [build(config, torch.float64).eval() for config in members]
    batch = make_batch(6)
    expected = torch.stack([network(batch["input_ids"], batch["attention_mask"]) for network in networks])
    torch.testing.assert_close(PopulationNetwork(networks).evaluate(batch), expected, **TIGHT)


def fused_kernels_enabled() -> list[bool]:
    switches = torch.backends.cuda
    return [switches.flash_sdp_enabled(), switches.mem_efficient_sdp_enabled(), switches.cudnn_sdp_enabled()]


def test_on_a_gpu_attention_keeps_to_plain_matrix_products_and_on_the_cpu_to_its_kernel():
    before = fused_kernels_enabled()
    with batchable_attention(torch.device("cuda")):
        assert fused_kernels_enabled() == [False] * 3
        assert torch.backends.cuda.math_sdp_enabled()
    with batchable_attention(torch.device("cpu")):
        assert fused_kernels_enabled() == before
    assert fused_kernels_enabled() == before


def test_plain_matrix_products_give_each_members_logits_and_gradients():
    networks = [build(config, torch.float64) for config in configs(variant="pre_ln", dropout=0.0)]
    batches = [member_batch(member, 0) for member in range(len(networks))]
    losses = build_training_loss(configs()[0], FACTS.class_counts)
    alone = [
        torch.autograd.grad(
            losses(network(batch["input_ids"], batch["attention_mask"]), batch["labels"]), list(network.parameters())
        )
        for network, batch in zip(networks, batches, strict=True)
    ]
    population = PopulationNetwork(networks)
    stacked = stack_batches(batches, FACTS.padding_id)
    with batchable_attention(torch.device("cuda")):
        together = population.logits(stacked, range(len(networks)))
        population.weights.differentiate(member_losses(losses, together, stacked))
    expected = torch.stack([torch.cat([gradient.flatten() for gradient in gradients]) for gradients in alone])
    torch.testing.assert_close(population.weights.gradient, expected, **TIGHT)


@pytest.mark.parametrize("variant", ["post_ln", "pre_ln", "plain", "rezero"])
@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd", "momentum"])
def test_steps_with_own_rates_and_data_equal_solo_steps_with_dropout_on(variant, optimizer):
    members = configs(variant=variant, optimizer=optimizer, dropout=0.3)
    network, active = train_together(members, torch.float64)
    assert active.all()
    alone = {m: train_alone(m, config, torch.float64, None) for m, config in enumerate(members)}
    assert_equal_to_solo(network, alone, **TIGHT)


@pytest.mark.parametrize("variant", ["post_ln", "pre_ln", "plain", "rezero"])
def test_float32_adamw_steps_give_the_same_answers(variant):
    members = configs(variant=variant, dropout=0.1)
    network, _ = train_together(members, torch.float32, clip=1.0)
    batch = make_batch(32, 77)
    ours = network.evaluate(batch)
    for member, config in enumerate(members):
        solo = build(config, torch.float32).eval()
        solo.load_state_dict(train_alone(member, config, torch.float32, 1.0))
        torch.testing.assert_close(
            ours[member], solo(batch["input_ids"], batch["attention_mask"]), rtol=1e-4, atol=2e-5
        )


@pytest.mark.parametrize("variant", ["post_ln", "pre_ln", "plain", "rezero"])
def test_float32_steps_agree_to_rounding(variant):
    members = configs(variant=variant, optimizer="momentum", dropout=0.1)
    network, _ = train_together(members, torch.float32, clip=1.0)
    alone = {m: train_alone(m, config, torch.float32, 1.0) for m, config in enumerate(members)}
    assert_equal_to_solo(network, alone, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("settings", [
    {"loss": "mean_squared_error", "class_weights": "balanced"}, {"loss": "mean_squared_error"},
    {"class_weights": "balanced", "label_smoothing": 0.1}, {"label_smoothing": 0.2},
    {"positions": "sinusoidal", "pooling": "first", "activation": "gelu"}, {"positions": "none", "decay": "cosine"},
])  # fmt: skip
def test_other_losses_and_parts_equal_solo_steps(settings):
    members = configs(**settings)
    network, _ = train_together(members, torch.float64)
    alone = {m: train_alone(m, config, torch.float64, None) for m, config in enumerate(members)}
    assert_equal_to_solo(network, alone, **TIGHT)


def test_each_member_is_clipped_by_its_own_norm():
    members = configs(optimizer="sgd")
    limit = 0.3
    network, _ = train_together(members, torch.float64, clip=limit)
    alone = {m: train_alone(m, config, torch.float64, limit) for m, config in enumerate(members)}
    assert_equal_to_solo(network, alone, **TIGHT)
    unclipped = train_alone(0, members[0], torch.float64, None)
    assert any(not value.equal(unclipped[name]) for name, value in alone[0].items())


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_diverged_member_stays_as_it_was_and_leaves_the_others_equal_to_their_solo_runs(optimizer):
    members = configs(variant="no_norm", optimizer=optimizer, dropout=0.2)
    members[1].learning_rate, members[1].warmup_fraction = 1e200, 0.0
    network, active = train_together(members, torch.float64)
    assert active.tolist() == [True, False, True]
    alone = {m: train_alone(m, members[m], torch.float64, None) for m in (0, 2)}
    assert_equal_to_solo(network, alone, **TIGHT)


def test_an_inactive_row_does_not_move():
    members = configs(dropout=0.0)
    network = PopulationNetwork([build(config, torch.float64) for config in members])
    before = network.weights.matrix.clone()
    network.weights.gradient[1] = float("nan")
    network.weights.gradient[[0, 2]] = 1.0
    PopulationOptimizer(members, network.weights, [STEPS] * 3).step(torch.tensor([True, False, True]))
    moved = (network.weights.matrix != before).any(dim=1)
    assert moved.tolist() == [True, False, True] and network.weights.matrix.isfinite().all()


def test_gradient_norms_are_those_of_each_member_by_depth():
    members = configs()
    network = PopulationNetwork([build(config, torch.float64) for config in members])
    batches = [member_batch(m, 0) for m in range(3)]
    batch, loss = stack_batches(batches, FACTS.padding_id), build_training_loss(members[0], FACTS.class_counts)
    network.weights.differentiate(member_losses(loss, network.logits(batch, [0] * 3), batch))
    norms, parts = network.weights.gradient_norms()
    for member, (config, own) in enumerate(zip(members, batches, strict=True)):
        solo = build(config, torch.float64)
        loss(solo(own["input_ids"], own["attention_mask"]), own["labels"]).backward()
        for column, weights in enumerate(solo.parts().values()):
            expected = torch.nn.utils.get_total_norm([weight.grad for weight in weights])
            torch.testing.assert_close(parts[member, column], expected, **TIGHT)
        torch.testing.assert_close(norms[member], torch.nn.utils.get_total_norm([w.grad for w in solo.parameters()]))


def test_padding_to_a_common_size_changes_neither_loss_nor_gradient():
    members = configs()
    own = [member_batch(m, 0) for m in range(3)]
    wide = [*own[:2], make_batch(30, 9)]  # makes the other two members' batches larger
    results = []
    for batches in (own, wide):
        network = PopulationNetwork([build(config, torch.float64) for config in members])
        batch = stack_batches(batches, FACTS.padding_id)
        losses = member_losses(build_training_loss(members[0], (1, 1, 1)), network.logits(batch, [0] * 3), batch)
        network.weights.differentiate(losses)
        results.append((losses[:2].detach(), network.weights.gradient[:2]))
    assert results[0][0].isfinite().all()
    torch.testing.assert_close(results[0], results[1], **TIGHT)


@pytest.mark.parametrize(("field", "value"), [("variant", "plain"), ("layers", 3), ("dropout", 0.5)])
def test_members_of_different_kinds_are_refused_by_name(field, value):
    members = [*configs(), *configs(**{field: value})]
    with pytest.raises(ConfigurationError, match=rf"model\.{field} is .* in another"):
        refuse_unlike(members)


def test_a_norm_that_depends_on_padding_and_an_optimiser_that_a_population_lacks_are_refused():
    with pytest.raises(ConfigurationError, match="normalises over tokens"):
        refuse_unlike(configs(variant="article_layer_norm_dim1"))
    with pytest.raises(ConfigurationError, match="rmsprop"):
        refuse_unlike(configs(optimizer="rmsprop"))
    with pytest.raises(ConfigurationError, match="at least one member"):
        refuse_unlike([])


def test_masks_off_the_cpu_are_each_members_own_whoever_trains_beside_it():
    probabilities, device = {"first.mask": 0.3, "second.mask": 0.3}, torch.device("cpu")
    alone = own_masks(probabilities, [7], [(40, 9)], 64, device)
    beside = own_masks(probabilities, [8, 7], [(50, 12), (40, 9)], 64, device)
    for name, mask in alone.items():
        assert mask[0].equal(beside[name][1, :40, :9])
        assert mask.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
        assert (mask == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert not alone["first.mask"].equal(alone["second.mask"])
    assert not beside["first.mask"][0, :40, :9].equal(alone["first.mask"][0])
