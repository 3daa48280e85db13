"""Members of a population, trained together and one by one in PyTorch's own loop, for comparison."""

from __future__ import annotations

from typing import Any

import torch
from synthetic_batches import FACTS, make_batch
from torch import Tensor

from lightning_modules.config import ModelConfig
from lightning_modules.network.classifier_network import ClassifierNetwork, build_network
from lightning_modules.network.dropout import batch_seed
from lightning_modules.population.batch import stack_batches
from lightning_modules.population.network import PopulationNetwork, member_losses
from lightning_modules.population.optimizer import PopulationOptimizer
from lightning_modules.training.losses import build_training_loss
from lightning_modules.training.optimization import build_optimizer, build_schedule

STEPS = 6
RATES = (1e-3, 1e-2, 3e-2)
SIZES = ((16, 12), (5, 7), (16, 9))  # rows and tokens of the members' batches: another shape for each
TIGHT = {"rtol": 1e-9, "atol": 1e-9}
# Attention does not depend on the bias of its keys, whose gradient is rounding noise; Adam divides that by ε = 1e-8.


def configs(**settings: Any) -> list[ModelConfig]:
    """Three members that differ in seed, rate, warm-up, decay and gain."""
    common = {"layers": 2, "width": 16, "dropout": 0.0, **settings}
    own = [
        {"seed": seed, "learning_rate": rate, "warmup_fraction": 0.2 * seed, "weight_decay": 0.1 * seed}
        for seed, rate in enumerate(RATES)
    ]
    return [ModelConfig(**{"initialisation_gain": 1 + 0.1 * n, **values, **common}) for n, values in enumerate(own)]


def build(config: ModelConfig, dtype: torch.dtype) -> ClassifierNetwork:
    sizes = {"vocabulary_size": FACTS.vocabulary_size, "max_length": FACTS.max_length}
    return build_network(config, number_of_classes=3, padding_id=FACTS.padding_id, **sizes).to(dtype)


def member_batch(member: int, step: int) -> dict[str, Tensor]:
    rows, length = SIZES[(member + step) % len(SIZES)]
    return make_batch(rows, 100 * member + step, length)


def train_alone(member: int, config: ModelConfig, dtype: torch.dtype, clip: float | None) -> dict[str, Tensor]:
    """The plain loop of PyTorch: its optimiser, its clipping, dropout seeded as the classifier does."""
    network, loss = build(config, dtype).train(), build_training_loss(config, FACTS.class_counts).to(dtype)
    optimizer = build_optimizer(config, network)
    schedule = build_schedule(config, optimizer, STEPS)
    for step in range(STEPS):
        batch = member_batch(member, step)
        torch.manual_seed(batch_seed(config.seed, 0, step))
        optimizer.zero_grad()
        loss(network(batch["input_ids"], batch["attention_mask"]), batch["labels"]).backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(network.parameters(), clip)
        optimizer.step()
        schedule.step()
    return dict(network.state_dict())


def train_together(
    members: list[ModelConfig], dtype: torch.dtype, clip: float | None = None
) -> tuple[PopulationNetwork, Tensor]:
    """Train a population; return it and which members are still active."""
    network = PopulationNetwork([build(config, dtype).train() for config in members])
    loss = build_training_loss(members[0], FACTS.class_counts).to(dtype)
    optimizer = PopulationOptimizer(members, network.weights, [STEPS] * len(members))
    active = torch.ones(len(members), dtype=torch.bool)
    for step in range(STEPS):
        batch = stack_batches([member_batch(m, step) for m in range(len(members))], FACTS.padding_id)
        seeds = [batch_seed(config.seed, 0, step) for config in members]
        losses = member_losses(loss, network.logits(batch, seeds), batch)
        network.weights.differentiate(losses)
        norms, _ = network.weights.gradient_norms()
        active &= losses.isfinite() & norms.isfinite()
        if clip is not None:
            network.weights.clip(norms, clip)
        optimizer.step(active)
    return network, active


def assert_equal_to_solo(network: PopulationNetwork, alone: dict[int, dict[str, Tensor]], **tolerance: float) -> None:
    for member, expected in alone.items():
        ours = network.weights.state_of(member)
        assert ours.keys() <= expected.keys()
        for name, value in ours.items():
            torch.testing.assert_close(value, expected[name], msg=lambda text, n=name: f"{n}: {text}", **tolerance)
