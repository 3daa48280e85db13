"""The sides of the benchmark: each trains the same model on the same batches in its own way.

A side is one function from a :class:`Task` to a :class:`Timing`, registered under its name.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import torch
from lightning.pytorch import seed_everything

from data_modules.text import TextDataModule
from experiments.errors import ExperimentError
from experiments.planning.names import reject_unknown
from experiments.planning.run_config import RunConfig
from experiments.running.execute import section, speed
from experiments.running.progress import ProgressReporter
from experiments.running.training import build_trainer
from lightning_modules.classifier import TextClassifier
from lightning_modules.losses import build_training_loss
from lightning_modules.optimization import build_optimizer, build_schedule
from lightning_modules.transformer.classifier_network import ClassifierNetwork, build_network


@dataclass(frozen=True)
class Timing:
    """What one side took for the task."""

    seconds: float
    """Training alone: batches, forward, backward, clipping, optimiser and schedule, and what the side does between."""
    tokens: int
    """Real tokens trained on."""
    steps: int
    parameters: dict[str, torch.Tensor]
    """The trained weights, which tell whether two sides did the same work."""

    @property
    def tokens_per_second(self) -> float:
        """Real tokens per second."""
        return self.tokens / self.seconds


@dataclass(frozen=True)
class Task:
    """One epoch of training with a configuration."""

    config: RunConfig

    @cached_property
    def data(self) -> TextDataModule:
        """The batches, tokenised before any clock runs."""
        data = TextDataModule(**section(self.config.data))
        data.prepare_data()
        return data

    def network(self) -> ClassifierNetwork:
        """Return the untrained network, the same for every side that builds it so."""
        seed_everything(self.config.seed, verbose=False)
        facts = self.data.facts
        return build_network(
            self.config.model,
            vocabulary_size=facts.vocabulary_size,
            number_of_classes=len(facts.class_names),
            max_length=facts.max_length,
            padding_id=facts.padding_id,
        )


Side = Callable[[Task], Timing]
SIDES: dict[str, Side] = {}


def side(name: str) -> Callable[[Side], Side]:
    """Register a side under a name."""

    def register(function: Side) -> Side:
        SIDES[name] = function
        return function

    return register


def named_side(name: str) -> Side:
    """Return a registered side.

    Raises:
        ExperimentError: where there is none of this name; the message names the nearest.
    """
    reject_unknown("side", name, SIDES)
    return SIDES[name]


@side("lightning")
def train_with_lightning(task: Task) -> Timing:
    """Train as every run of a grid does: loggers, curves, gradient norms, divergence guard, checkpoint.

    The seconds are those of the callback that times every run. One batch of validation follows the last step, because
    the checkpoint needs a score; neither is counted.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = asdict(task.config.trainer) | {"limit_val_batches": 1}
        trainer = build_trainer(settings, Path(folder), [ProgressReporter(lambda progress: None)])
        module = TextClassifier(**section(task.config.model))
        seed_everything(task.config.seed, verbose=False)
        trainer.fit(module, datamodule=task.data)
        measured = speed(trainer)
    tokens = round(measured["tokens_per_second"] * measured["training_seconds"])
    parameters = {name: value.detach() for name, value in module.network.named_parameters()}
    return Timing(measured["training_seconds"], tokens, trainer.global_step, parameters)


@side("plain")
def train_with_a_plain_loop(task: Task) -> Timing:
    """Train with the shortest loop that does the same arithmetic, and nothing else: no curve, no guard, no file."""
    if task.config.trainer.precision != "32-true":
        raise ExperimentError(f"the plain loop trains in 32-true only, not in {task.config.trainer.precision}")
    torch.use_deterministic_algorithms(False)  # Lightning switches it on for the whole process
    config, facts = task.config.model, task.data.facts
    network = task.network().train()
    loss_function = build_training_loss(config, facts.class_counts)
    optimizer = build_optimizer(config, network)
    schedule = build_schedule(config, optimizer, facts.steps_per_epoch)
    clip = task.config.trainer.gradient_clip_val
    batches = task.data.train_dataloader()
    tokens = steps = 0
    started = time.perf_counter()
    for batch in batches:
        loss = loss_function(network(batch["input_ids"], batch["attention_mask"]), batch["labels"])
        optimizer.zero_grad()
        loss.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(network.parameters(), clip)
        optimizer.step()
        schedule.step()
        tokens += int(batch["attention_mask"].sum())
        steps += 1
    seconds = time.perf_counter() - started
    return Timing(seconds, tokens, steps, {name: value.detach() for name, value in network.named_parameters()})
