"""``--precision auto``: whether matrices are multiplied in bfloat16, decided by the device and by a measurement.

Weights, norms and, on the CPU, attention stay in float32 in either case. The decision is measured once per machine,
software and size of network and then read from the cache, so that a grid that goes on later goes on in the same
precision; what was decided is what every record states.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from data_modules.cache import cache_root, cached, digest
from experiments.planning.run_config import RunConfig
from experiments.running.provenance import processor_name
from lightning_modules.config import ModelConfig
from lightning_modules.losses import build_training_loss
from lightning_modules.optimization import build_optimizer
from lightning_modules.transformer.classifier_network import build_network

FLOAT32, BFLOAT16 = "32-true", "bf16-mixed"
LEAST_SPEEDUP = 1.1
"""Times as fast that bfloat16 must be before it is chosen: less is within what a busy machine may feign."""
LARGEST_LOSS_GAP = 0.02
"""Largest difference between both losses, as a share of the loss, after the measured steps."""
PAIRS, STEPS, CLASSES, VOCABULARY, LAYERS = 5, 3, 5, 1000, 2


@dataclass(frozen=True)
class Choice:
    """What was decided and why, in words for a reader."""

    precision: str
    reason: str


def choose_precision(config: RunConfig) -> Choice:
    """Return the precision for networks of this size on the device that a run would take.

    bfloat16 is chosen where the device computes in it, training steps are at least ``LEAST_SPEEDUP`` times as fast, and
    the loss after the same steps is finite and within ``LARGEST_LOSS_GAP`` of float32's.
    """
    device = device_of(config.trainer.accelerator)
    if not computes_in_bfloat16(device):
        return Choice(FLOAT32, f"{device.type} does not train in bfloat16 here")
    entry = cached(
        cache_root(config.data.cache_dir), "precision", key(config, device), partial(measure, config, device)
    )
    return Choice(**json.loads((entry / "choice.json").read_text()))


def device_of(accelerator: str) -> torch.device:
    """Return the device that Lightning would take for an ``accelerator``."""
    wanted = {"gpu": "cuda", "auto": "cuda"}.get(accelerator, accelerator)
    return torch.device("cuda" if wanted == "cuda" and torch.cuda.is_available() else "cpu")


def computes_in_bfloat16(device: torch.device) -> bool:
    """Return whether a device multiplies bfloat16 matrices itself; a CPU always can, fast or slow."""
    return device.type == "cpu" or torch.cuda.is_bf16_supported(including_emulation=False)


def key(config: RunConfig, device: torch.device) -> str:
    """Return a digest of all that decides the speed of a step but its depth."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()
    model, data = config.model, config.data
    sizes = (model.width, model.heads, model.feed_forward_width, model.variant, data.batch_size, data.max_length)
    return digest(name, torch.__version__, config.threads, sizes, (LEAST_SPEEDUP, LARGEST_LOSS_GAP))


def measure(config: RunConfig, device: torch.device, folder: Path) -> None:
    """Train two small networks of the run's width side by side and write the choice to ``folder``."""
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        steps = {name: trainable(config, device, name) for name in (FLOAT32, BFLOAT16)}
        ratios = []
        for pair in range(PAIRS + 1):
            order = (FLOAT32, BFLOAT16) if pair % 2 else (BFLOAT16, FLOAT32)
            seconds = {name: timed(steps[name], device) for name in order}
            ratios.append(seconds[FLOAT32] / seconds[BFLOAT16])
        losses = {name: float(step()) for name, step in steps.items()}
    finally:
        torch.set_num_threads(threads)
    choice = decide(median(ratios[1:]), losses)  # the first pair pays for preparing the kernels
    (folder / "choice.json").write_text(json.dumps({"precision": choice.precision, "reason": choice.reason}))


def decide(speedup: float, losses: Mapping[str, float]) -> Choice:
    """Return the choice that measured speed and losses, by precision, lead to."""
    gap = abs(losses[BFLOAT16] - losses[FLOAT32]) / abs(losses[FLOAT32])
    if not math.isfinite(losses[BFLOAT16]) or gap > LARGEST_LOSS_GAP:
        return Choice(FLOAT32, f"in bfloat16 the loss came to {losses[BFLOAT16]:.3g}, not {losses[FLOAT32]:.3g}")
    faster = f"a step in bfloat16 is {speedup:.2f} times as fast"
    if speedup < LEAST_SPEEDUP:
        return Choice(FLOAT32, f"{faster}, less than {LEAST_SPEEDUP}")
    return Choice(BFLOAT16, faster)


def timed(step: Callable[[], Tensor], device: torch.device) -> float:
    """Return the seconds of a few steps."""
    started = time.perf_counter()
    for _ in range(STEPS):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def trainable(config: RunConfig, device: torch.device, precision: str) -> Callable[[], Tensor]:
    """Return what takes one optimiser step and returns its loss: a shallow network, the same batch of random tokens.

    Dropout is off, so that the losses of two precisions can be compared.
    """
    data = config.data
    layers = min(LAYERS, config.model.layers)
    model: ModelConfig = replace(
        config.model, layers=layers, dropout=0.0, seed=0, optimizer="adamw", learning_rate=1e-3
    )
    network = build_network(
        model, vocabulary_size=VOCABULARY, number_of_classes=CLASSES, max_length=data.max_length, padding_id=0
    ).to(device)
    optimizer, loss_function = build_optimizer(model, network), build_training_loss(model, (1,) * CLASSES).to(device)
    generator = torch.Generator().manual_seed(0)
    length = max(1, data.max_length // 2)
    tokens = torch.randint(1, VOCABULARY, (data.batch_size, length), generator=generator).to(device)
    labels = torch.randint(0, CLASSES, (data.batch_size,), generator=generator).to(device)
    mask = torch.ones_like(tokens, dtype=torch.bool)

    def step() -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == BFLOAT16, cache_enabled=False):
            loss: Tensor = loss_function(network(tokens, mask), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step
