"""Training steps to measure: what ``--precision auto`` and ``--compile auto`` decide by."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from experiments.planning.run_config import RunConfig
from experiments.runs.provenance import processor_name
from lightning_modules.config import ModelConfig
from lightning_modules.network.classifier_network import ClassifierNetwork, build_network
from lightning_modules.training.losses import build_training_loss
from lightning_modules.training.optimization import build_optimizer

FLOAT32, BFLOAT16 = "32-true", "bf16-mixed"
STEPS, CLASSES, VOCABULARY = 3, 5, 1000
Value = TypeVar("Value")


@dataclass(frozen=True)
class Choice(Generic[Value]):
    """What was decided and why, in words for a reader."""

    value: Value
    reason: str


def device_of(accelerator: str) -> torch.device:
    """Return the device that Lightning would take for an ``accelerator``."""
    wanted = {"gpu": "cuda", "auto": "cuda"}.get(accelerator, accelerator)
    return torch.device("cuda" if wanted == "cuda" and torch.cuda.is_available() else "cpu")


def machine_and_sizes(config: RunConfig, device: torch.device) -> tuple[object, ...]:
    """Return all that decides the speed of a step but depth and precision."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()
    model, data = config.model, config.data
    sizes = (model.width, model.heads, model.feed_forward_width, model.variant, data.batch_size, data.max_length)
    return name, torch.__version__, config.threads, sizes


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Compute with so many CPU threads, as a run would, and afterwards with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def timed(step: Callable[[], Tensor], device: torch.device) -> float:
    """Return the seconds of a few steps."""
    started = time.perf_counter()
    for _ in range(STEPS):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


@dataclass(frozen=True)
class Trial:
    """A network on one batch of random tokens of half the longest rows, and the optimiser that trains it."""

    network: ClassifierNetwork
    optimizer: torch.optim.Optimizer
    loss_function: nn.Module
    batch: tuple[Tensor, Tensor, Tensor]
    """``input_ids`` (B, T), ``attention_mask`` (B, T) and ``labels`` (B,)."""
    precision: str

    @classmethod
    def of(cls, config: RunConfig, device: torch.device, precision: str, **changes: Any) -> Trial:
        """Return a trial of a run's network with some settings of the model changed."""
        data = config.data
        changes = {"seed": 0, "optimizer": "adamw", "learning_rate": 1e-3, **changes}
        model: ModelConfig = replace(config.model, **changes)
        network = build_network(
            model, vocabulary_size=VOCABULARY, number_of_classes=CLASSES, max_length=data.max_length, padding_id=0
        ).to(device)
        generator = torch.Generator().manual_seed(0)
        length = max(1, data.max_length // 2)
        tokens = torch.randint(1, VOCABULARY, (data.batch_size, length), generator=generator).to(device)
        labels = torch.randint(0, CLASSES, (data.batch_size,), generator=generator).to(device)
        return cls(
            network=network,
            optimizer=build_optimizer(model, network),
            loss_function=build_training_loss(model, (1,) * CLASSES).to(device),
            batch=(tokens, torch.ones_like(tokens, dtype=torch.bool), labels),
            precision=precision,
        )

    def forward(self) -> Tensor:
        """Return the logits (B, K), computed in the trial's precision."""
        tokens, mask, _ = self.batch
        narrow = self.precision == BFLOAT16
        with torch.autocast(tokens.device.type, torch.bfloat16, enabled=narrow, cache_enabled=False):
            logits: Tensor = self.network(tokens, mask)
        return logits

    def step(self) -> Tensor:
        """Take one optimiser step and return its loss."""
        loss: Tensor = self.loss_function(self.forward().float(), self.batch[2])
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()
