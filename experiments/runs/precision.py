"""``--precision auto``: whether matrices are multiplied in bfloat16, decided by the device and by a measurement.

Weights, norms and, on the CPU, attention stay in float32 in either case. The decision is measured once per machine,
software and size of network. Later commands read it from the cache, so a grid that goes on goes on in the same
precision. Every record states what was decided.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from data_modules.cache import cache_root, cached, digest
from experiments.planning.run_config import RunConfig
from experiments.runs.provenance import processor_name
from lightning_modules.config import ModelConfig
from lightning_modules.network.network import Network, build_network
from lightning_modules.training.losses import build_training_loss
from lightning_modules.training.optimization import build_optimizer

FLOAT32, BFLOAT16 = "32-true", "bf16-mixed"
LEAST_SPEEDUP = 1.1
"""How many times as fast bfloat16 must be to be chosen; on a busy machine smaller factors may be chance."""
LARGEST_LOSS_GAP = 0.02
"""Largest difference between both losses, as a share of the loss, after the measured steps."""
PAIRS, LAYERS, STEPS, CLASSES, VOCABULARY = 5, 2, 3, 5, 1000


@dataclass(frozen=True)
class Choice:
    """The precision that was decided on and why, in words for a reader."""

    value: str
    reason: str


def choose_precision(config: RunConfig) -> Choice:
    """Decide the precision for networks of this size on the device that a run would take.

    bfloat16 is chosen if the device computes in it and training steps are at least ``LEAST_SPEEDUP`` times as fast. The
    loss after the same steps must also be finite and within ``LARGEST_LOSS_GAP`` of float32's.
    """
    device = device_of(config.trainer.accelerator)
    if not computes_in_bfloat16(device):
        return Choice(FLOAT32, f"{device.type} does not train in bfloat16 here")
    key = digest(*machine_and_sizes(config, device), (LEAST_SPEEDUP, LARGEST_LOSS_GAP))
    entry = cached(cache_root(config.data.cache_dir), "chosen_precision", key, partial(measure, config, device))
    return Choice(**json.loads((entry / "choice.json").read_text()))


def device_of(accelerator: str) -> torch.device:
    """Return the device that Lightning would take for an ``accelerator``."""
    wanted = {"gpu": "cuda", "auto": "cuda"}.get(accelerator, accelerator)
    return torch.device("cuda" if wanted == "cuda" and torch.cuda.is_available() else "cpu")


def computes_in_bfloat16(device: torch.device) -> bool:
    """Tell whether a device multiplies bfloat16 matrices itself; a CPU always can, fast or slow."""
    return device.type == "cpu" or torch.cuda.is_bf16_supported(including_emulation=False)


def emulates_bfloat16(device: torch.device) -> bool:
    """Tell whether a device multiplies bfloat16 matrices in software: an x86 processor that oneDNN has no kernel for.

    Measured without AVX-512: about ten times the time of the same products in float32.
    """
    able = torch.cpu.get_capabilities()
    kernels = able.get("avx512_bw") or able.get("avx_ne_convert")
    return device.type == "cpu" and able.get("architecture") == "x86_64" and not kernels


def slow_precision(configs: Iterable[RunConfig]) -> str | None:
    """Say what to do if a run asks for bfloat16 and this machine is slow at it; None otherwise."""
    devices = (device_of(config.trainer.accelerator) for config in configs if config.trainer.precision == BFLOAT16)
    if not any(map(emulates_bfloat16, devices)):
        return None
    return (
        f"{processor_name()} has no bfloat16 instructions: with trainer.precision {BFLOAT16} runs take several times "
        f"as long as in float32; --trainer.precision {FLOAT32} or --precision auto makes them in float32, in results "
        "folders of their own"
    )


def machine_and_sizes(config: RunConfig, device: torch.device) -> tuple[object, ...]:
    """Return all that decides the speed of a step, except for depth and precision."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()
    model, data = config.model, config.data
    sizes = (model.width, model.heads, model.feed_forward_width, model.variant, data.batch_size, data.max_length)
    return name, torch.__version__, config.threads, sizes


def measure(config: RunConfig, device: torch.device, folder: Path) -> None:
    """Train two shallow networks of the run's width, alternating, and write the choice to ``folder``.

    Dropout is off, so that their losses can be compared.
    """
    with threads(config.threads):
        trials = {name: Trial.of(config, device, name) for name in (FLOAT32, BFLOAT16)}
        ratios = []
        for pair in range(PAIRS + 1):
            order = (FLOAT32, BFLOAT16) if pair % 2 else (BFLOAT16, FLOAT32)
            seconds = {name: trials[name].seconds(device) for name in order}
            ratios.append(seconds[FLOAT32] / seconds[BFLOAT16])
        losses = {name: float(trial.step()) for name, trial in trials.items()}
    choice = decide(median(ratios[1:]), losses)  # the first pair pays for preparing the kernels
    (folder / "choice.json").write_text(json.dumps(vars(choice)))


def decide(speedup: float, losses: Mapping[str, float]) -> Choice:
    """Return the choice that follows from measured speeds and losses, by precision."""
    gap = abs(losses[BFLOAT16] - losses[FLOAT32]) / abs(losses[FLOAT32])
    if not math.isfinite(losses[BFLOAT16]) or gap > LARGEST_LOSS_GAP:
        return Choice(FLOAT32, f"in bfloat16 the loss came to {losses[BFLOAT16]:.3g}, not {losses[FLOAT32]:.3g}")
    faster = f"a step in bfloat16 is {speedup:.2f} times as fast"
    if speedup < LEAST_SPEEDUP:
        return Choice(FLOAT32, f"{faster}, less than {LEAST_SPEEDUP}")
    return Choice(BFLOAT16, faster)


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Compute with ``number`` CPU threads, as a run would, and afterwards with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Trial:
    """A shallow network on one batch of random tokens of half the longest rows, and the optimiser that trains it."""

    network: Network
    optimizer: torch.optim.Optimizer
    loss_function: nn.Module
    batch: tuple[Tensor, Tensor, Tensor]
    """``input_ids`` (B, T), ``attention_mask`` (B, T) and ``labels`` (B,)."""
    precision: str

    @classmethod
    def of(cls, config: RunConfig, device: torch.device, precision: str) -> Trial:
        """Build the trial of a run's network."""
        data = config.data
        changes: dict[str, Any] = {"seed": 0, "optimizer": "adamw", "learning_rate": 1e-3}
        model: ModelConfig = replace(config.model, layers=min(LAYERS, config.model.layers), dropout=0.0, **changes)
        network = build_network(
            model, vocabulary_size=VOCABULARY, outputs=CLASSES, max_length=data.max_length, padding_id=0
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

    def step(self) -> Tensor:
        """Take one optimiser step and return its loss."""
        tokens, mask, labels = self.batch
        narrow = self.precision == BFLOAT16
        with torch.autocast(tokens.device.type, torch.bfloat16, enabled=narrow, cache_enabled=False):
            logits: Tensor = self.network(tokens, mask)  # (B, K)
        loss: Tensor = self.loss_function(logits.float(), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def seconds(self, device: torch.device) -> float:
        """Return the seconds of ``STEPS`` optimiser steps."""
        started = time.perf_counter()
        for _ in range(STEPS):
            self.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - started
