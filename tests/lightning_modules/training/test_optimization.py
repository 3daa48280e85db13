"""Optimisers, decay groups and schedules follow their formulas."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from synthetic_batches import make_network

from lightning_modules.config import OPTIMIZER_FIELDS, Decay, ModelConfig, OptimizerName
from lightning_modules.network.backbone import Recipe
from lightning_modules.training.optimization import (
    build_optimizer,
    build_schedule,
    learning_rate_factor,
    parameter_groups,
)


@pytest.mark.parametrize("variant", ["pre_ln", "rezero"])
def test_norms_biases_embeddings_and_branch_weights_are_exempt_from_weight_decay(variant):
    network = make_network(variant=variant)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    groups = parameter_groups(ModelConfig(weight_decay=0.1), network)
    decayed, exempt = ({names[id(p)] for p in group["params"]} for group in groups)
    matrices = ("query_key_value.weight", "output.weight", "hidden.weight", "linear.weight")
    assert decayed == {name for name in names.values() if name.endswith(matrices)}
    assert decayed | exempt == set(names.values())
    assert {f"backbone.embeddings.{name}.weight" for name in ("table", "positions.embedding")} <= exempt
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]


class SlowEmbeddings(Recipe):
    def factors(self, name, parameter, backbone):
        return {"lr": 0.5, "eps": 4.0, "weight_decay": 0.0} if "embeddings" in name or "head" in name else {}


def test_a_recipe_multiplies_rate_epsilon_and_decay_of_single_parameters():
    network = make_network()
    network.backbone.recipes = (SlowEmbeddings(),)
    config = ModelConfig(learning_rate=0.2, weight_decay=0.1)
    parameters = {id(parameter): name for name, parameter in network.named_parameters()}
    rules = {
        parameters[id(parameter)]: (group["lr"], group["eps"], group["weight_decay"])
        for group in build_optimizer(config, network).param_groups
        for parameter in group["params"]
    }
    assert set(rules) == set(parameters.values())
    for name, rule in rules.items():
        slow = name.startswith(("backbone.embeddings", "head"))
        matrix = name.endswith(("query_key_value.weight", "output.weight", "hidden.weight"))
        assert rule == ((0.1, 4e-8, 0.0) if slow else (0.2, 1e-8, 0.1 if matrix else 0.0)), name
    for optimizer in ("sgd", "momentum", "rmsprop"):
        build_optimizer(ModelConfig(optimizer=optimizer), network)  # those have no epsilon that a recipe may change


@given(
    total=st.integers(1, 400),
    warmup=st.floats(0, 0.99),
    decay=st.sampled_from(get_args(Decay)),
)
def test_the_schedule_rises_from_above_zero_to_the_peak_and_falls_to_zero_after_the_last_step(total, warmup, decay):
    factors = [learning_rate_factor(step, total, warmup, decay) for step in range(total + 1)]
    warmup_steps = round(warmup * total)
    assert all(0 < factor <= 1 for factor in factors[:-1])
    assert factors[:warmup_steps] == sorted(factors[:warmup_steps])
    assert factors[warmup_steps:] == sorted(factors[warmup_steps:], reverse=True)
    assert warmup_steps == total or factors[warmup_steps] == 1
    if decay != "constant":
        assert factors[-1] == pytest.approx(0, abs=1e-12)
        assert learning_rate_factor(total + 50, total, warmup, decay) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("decay", "formula"),
    [
        ("constant", lambda share: 1.0),
        ("linear", lambda share: 1.0 - share),
        ("cosine", lambda share: 0.5 + 0.5 * math.cos(math.pi * share)),
    ],
)
def test_rates_in_training_equal_the_formula(decay, formula):
    config = ModelConfig(learning_rate=0.5, warmup_fraction=0.2, decay=decay)
    optimizer = build_optimizer(config, make_network())
    schedule = build_schedule(config, optimizer, total_steps=20)
    rates = []
    for _ in range(20):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    expected = [0.5 * (step + 1) / 4 for step in range(4)] + [0.5 * formula(step / 16) for step in range(16)]
    assert rates == pytest.approx(expected)


def reference_step(name: str, weight: torch.Tensor, gradient: torch.Tensor, rate: float) -> torch.Tensor:
    """The first step of each optimiser from its formula, without weight decay."""
    if name in ("sgd", "momentum"):
        return weight - rate * gradient
    if name in ("adam", "adamw"):  # bias-corrected moments are g and g²
        return weight - rate * gradient / (gradient.abs() + 1e-8)
    return weight - rate * gradient / ((0.01 * gradient**2).sqrt() + 1e-8)  # rmsprop, smoothing 0.99


@pytest.mark.parametrize("name", get_args(OptimizerName))
def test_the_first_step_of_every_optimiser_equals_its_formula(name):
    module = torch.nn.Linear(3, 2, bias=False)
    gradient = torch.tensor([[0.5, -2.0, 0.1], [1.0, 0.3, -0.7]])
    expected = reference_step(name, module.weight.detach().clone(), gradient, 0.1)
    optimizer = build_optimizer(ModelConfig(optimizer=name, learning_rate=0.1, weight_decay=0.0), module)
    module.weight.grad = gradient.clone()
    optimizer.step()
    torch.testing.assert_close(module.weight.detach(), expected)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_forgets_gradients_by_beta1_and_their_squares_by_beta2(name):
    """The second step, Kingma & Ba 2015, arXiv:1412.6980, algorithm 1: the first one knows neither."""
    beta1, beta2, rate, (first, second) = 0.8, 0.95, 0.1, (2.0, -0.5)
    module = torch.nn.Linear(1, 1, bias=False)
    config = ModelConfig(optimizer=name, learning_rate=rate, weight_decay=0.0, beta1=beta1, beta2=beta2)
    optimizer = build_optimizer(config, module)
    for gradient in (first, second):
        before = module.weight.item()
        module.weight.grad = torch.full((1, 1), gradient)
        optimizer.step()
    mean = (1 - beta1) * (beta1 * first + second) / (1 - beta1**2)
    square = (1 - beta2) * (beta2 * first**2 + second**2) / (1 - beta2**2)
    assert module.weight.item() - before == pytest.approx(-rate * mean / (square**0.5 + 1e-8), rel=1e-4)


def test_plain_sgd_has_no_momentum_and_momentum_has():
    moved = {}
    for name in ("sgd", "momentum"):
        module = torch.nn.Linear(1, 1, bias=False)
        start = module.weight.item()
        optimizer = build_optimizer(ModelConfig(optimizer=name, learning_rate=0.1, weight_decay=0.0), module)
        for _ in range(2):
            module.weight.grad = torch.ones(1, 1)
            optimizer.step()
        moved[name] = start - module.weight.item()
    assert moved == pytest.approx({"sgd": 0.2, "momentum": 0.1 + 0.19}, rel=1e-4)


def test_adamw_decays_weights_apart_from_the_gradient():
    module = torch.nn.Linear(1, 1, bias=False)
    start = module.weight.item()
    optimizer = build_optimizer(ModelConfig(optimizer="adamw", learning_rate=0.1, weight_decay=0.5), module)
    module.weight.grad = torch.zeros(1, 1)
    optimizer.step()
    assert module.weight.item() == pytest.approx(start * (1 - 0.1 * 0.5))


@pytest.mark.parametrize("name", OPTIMIZER_FIELDS)
def test_an_optimiser_reads_the_fields_that_are_named_and_no_others(name):
    def settings(**changes):
        optimizer = build_optimizer(ModelConfig(optimizer=name, **changes), torch.nn.Linear(2, 2))
        groups = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
        return type(optimizer), groups

    read = {field for field in ("momentum", "beta1", "beta2") if settings(**{field: 0.5}) != settings()}
    assert read == set(OPTIMIZER_FIELDS[name])
