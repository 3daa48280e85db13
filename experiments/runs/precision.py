"""``--precision auto``: whether matrices are multiplied in bfloat16, decided by the device and by a measurement.

Weights, norms and, on the CPU, attention stay in float32 in either case. The decision is measured once per machine,
software and size of network and then read from the cache, so that a grid that goes on later goes on in the same
precision; what was decided is what every record states.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from statistics import median

import torch

from data_modules.cache import cache_root, cached, digest
from experiments.planning.run_config import RunConfig
from experiments.runs.provenance import processor_name
from experiments.runs.trial_steps import (
    BFLOAT16,
    FLOAT32,
    Choice,
    Trial,
    device_of,
    machine_and_sizes,
    threads,
    timed,
)

LEAST_SPEEDUP = 1.1
"""Times as fast that bfloat16 must be before it is chosen: less is within what a busy machine may feign."""
LARGEST_LOSS_GAP = 0.02
"""Largest difference between both losses, as a share of the loss, after the measured steps."""
PAIRS, LAYERS = 5, 2


def choose_precision(config: RunConfig) -> Choice[str]:
    """Return the precision for networks of this size on the device that a run would take.

    bfloat16 is chosen where the device computes in it, training steps are at least ``LEAST_SPEEDUP`` times as fast, and
    the loss after the same steps is finite and within ``LARGEST_LOSS_GAP`` of float32's.
    """
    device = device_of(config.trainer.accelerator)
    if not computes_in_bfloat16(device):
        return Choice(FLOAT32, f"{device.type} does not train in bfloat16 here")
    key = digest(*machine_and_sizes(config, device), (LEAST_SPEEDUP, LARGEST_LOSS_GAP))
    entry = cached(cache_root(config.data.cache_dir), "chosen_precision", key, partial(measure, config, device))
    return Choice(**json.loads((entry / "choice.json").read_text()))


def computes_in_bfloat16(device: torch.device) -> bool:
    """Return whether a device multiplies bfloat16 matrices itself; a CPU always can, fast or slow."""
    return device.type == "cpu" or torch.cuda.is_bf16_supported(including_emulation=False)


def emulates_bfloat16(device: torch.device) -> bool:
    """Return whether a device multiplies bfloat16 matrices in software: an x86 processor that oneDNN has no kernel for.

    Measured without AVX-512: about ten times the time of the same products in float32.
    """
    able = torch.cpu.get_capabilities()
    kernels = able.get("avx512_bw") or able.get("avx_ne_convert")
    return device.type == "cpu" and able.get("architecture") == "x86_64" and not kernels


def slow_precision(configs: Iterable[RunConfig]) -> str | None:
    """Return what to do where a run asks for bfloat16 and this machine is slow at it, or None."""
    devices = (device_of(config.trainer.accelerator) for config in configs if config.trainer.precision == BFLOAT16)
    if not any(map(emulates_bfloat16, devices)):
        return None
    return (
        f"{processor_name()} has no bfloat16 instructions: with trainer.precision {BFLOAT16} runs take several times "
        f"as long as in float32; --trainer.precision {FLOAT32} or --precision auto makes them in float32, in results "
        "folders of their own"
    )


def measure(config: RunConfig, device: torch.device, folder: Path) -> None:
    """Train two shallow networks of the run's width side by side and write the choice to ``folder``.

    Dropout is off, so that their losses can be compared.
    """
    with threads(config.threads):
        layers = min(LAYERS, config.model.layers)
        trials = {name: Trial.of(config, device, name, layers=layers, dropout=0.0) for name in (FLOAT32, BFLOAT16)}
        ratios = []
        for pair in range(PAIRS + 1):
            order = (FLOAT32, BFLOAT16) if pair % 2 else (BFLOAT16, FLOAT32)
            seconds = {name: timed(trials[name].step, device) for name in order}
            ratios.append(seconds[FLOAT32] / seconds[BFLOAT16])
        losses = {name: float(trial.step()) for name, trial in trials.items()}
    choice = decide(median(ratios[1:]), losses)  # the first pair pays for preparing the kernels
    (folder / "choice.json").write_text(json.dumps(vars(choice)))


def decide(speedup: float, losses: Mapping[str, float]) -> Choice[str]:
    """Return the choice that measured speed and losses, by precision, lead to."""
    gap = abs(losses[BFLOAT16] - losses[FLOAT32]) / abs(losses[FLOAT32])
    if not math.isfinite(losses[BFLOAT16]) or gap > LARGEST_LOSS_GAP:
        return Choice(FLOAT32, f"in bfloat16 the loss came to {losses[BFLOAT16]:.3g}, not {losses[FLOAT32]:.3g}")
    faster = f"a step in bfloat16 is {speedup:.2f} times as fast"
    if speedup < LEAST_SPEEDUP:
        return Choice(FLOAT32, f"{faster}, less than {LEAST_SPEEDUP}")
    return Choice(BFLOAT16, faster)
