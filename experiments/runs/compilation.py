"""``--compile auto``: whether a run's blocks are compiled, decided by its length and by a measurement.

Compiling takes from half a minute to minutes before the first step, so it is chosen only where a compiler is found and
the steps of a run win back more than it takes. Seconds are measured once per machine, software and size of network and
then read from the cache. What was decided stands in every record's configuration.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import torch

from data_modules.cache import cache_root, cached, digest
from experiments.planning.run_config import RunConfig
from experiments.runs.trial_steps import STEPS, Choice, Trial, device_of, machine_and_sizes, threads, timed
from lightning_modules.training.compilers import missing_compiler

LEAST_SECONDS = 180.0
"""Training time below which compiling is not even tried: it could hardly win back what it takes."""
PAIRS = 5


@dataclass(frozen=True)
class Measured:
    """Seconds of a training step as it is and compiled, and what the first compiled step and evaluation took."""

    plain: float
    compiled: float
    start: float


def choose_compilation(config: RunConfig, steps: int) -> Choice[bool]:
    """Return whether a run of so many optimiser steps is to be compiled on the device that it would take."""
    device = device_of(config.trainer.accelerator)
    missing = missing_compiler(device)
    if missing:
        return Choice(False, missing)
    plain = seconds_of_a_step(config, device)
    total = steps * plain
    if total < LEAST_SECONDS:
        return Choice(False, f"a run trains for about {total:.0f} s, too short to win back what compiling takes")
    key = digest(*machine_and_sizes(config, device), config.trainer.precision, config.model.depth)
    entry = cached(cache_root(config.data.cache_dir), "compilation", key, partial(measure, config, device))
    return decide(Measured(**json.loads((entry / "seconds.json").read_text())), steps)


def seconds_of_a_step(config: RunConfig, device: torch.device) -> float:
    """Return the seconds of an optimiser step as it is, after one to warm up."""
    with threads(config.threads):
        trial = Trial.of(config, device, config.trainer.precision)
        trial.step()
        return timed(trial.step, device) / STEPS


def measure(config: RunConfig, device: torch.device, folder: Path) -> None:
    """Train the run's network as it is and compiled, side by side, and write the seconds to ``folder``."""
    with threads(config.threads):
        plain, compiled = (Trial.of(config, device, config.trainer.precision) for _ in range(2))
        start = seconds_to_compile(compiled)
        plain.step()
        pairs = [[timed(trial.step, device) / STEPS for trial in (plain, compiled)] for _ in range(PAIRS)]
    plain_seconds, compiled_seconds = (median(seconds) for seconds in zip(*pairs, strict=True))
    measured = Measured(plain_seconds, compiled_seconds, start)
    (folder / "seconds.json").write_text(json.dumps(vars(measured)))


def seconds_to_compile(trial: Trial) -> float:
    """Have the trial's blocks compiled; return what the first training step and the first evaluation took."""
    trial.network.compile_blocks()
    started = time.perf_counter()
    trial.step()
    with torch.no_grad():
        trial.network.eval()
        trial.forward()
        trial.network.train()
    return time.perf_counter() - started


def decide(measured: Measured, steps: int) -> Choice[bool]:
    """Return the choice that the seconds lead to: compiled where the steps win back more than the start takes."""
    won = steps * (measured.plain - measured.compiled)
    what = (
        f"compiled, a step takes {1e3 * measured.compiled:.3g} ms instead of {1e3 * measured.plain:.3g}, "
        f"after {measured.start:.0f} s"
    )
    if won <= measured.start:
        return Choice(False, f"{what}, which {steps:,} steps do not win back")
    return Choice(True, f"{what}; {steps:,} steps win back {won:.0f} s")
