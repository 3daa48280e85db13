"""The sides of the benchmark: each trains the same task in its own way.

Ours train in the configured precision: a run as every grid makes it, as many such runs at once as there are threads,
and the same network in a bare loop. Those of others train in float32, as they do by default.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from threading import BrokenBarrierError
from typing import Any

import torch
from lightning.pytorch import seed_everything
from torch import nn

from experiments.benchmark.task import BenchmarkTask, SideTiming, Work
from experiments.errors import ExperimentError
from experiments.planning.names import reject_unknown
from experiments.planning.run_config import RunConfig
from experiments.runs.conclude import speed
from experiments.runs.execute import ProgressReporter
from experiments.runs.training import build_trainer, prepare_process
from lightning_modules.network.network import Network
from lightning_modules.tasks.classification import TextClassifier
from lightning_modules.training.losses import build_training_loss
from lightning_modules.training.optimization import build_optimizer, build_schedule

REQUIREMENTS = "requirements-benchmark.txt"
PACKAGES: dict[str, str] = {
    "hf_trainer": "accelerate",
    "hf_trainer_fixed": "accelerate",
    "x_transformers": "x_transformers",
}
"""The package, by its import name, that a side needs beyond ``requirements.txt``."""

PATIENCE = 300.0
"""Seconds that a process waits for the others before the measurement is given up."""

_together: Any = None
"""In a worker process: the barrier at which all workers wait, so that they train at the same time."""


def train_with_lightning(task: BenchmarkTask) -> SideTiming:
    """Train as every run of a grid does: loggers, curves, gradient norms, divergence guard, checkpoint.

    The seconds are those of the callback that times every run. One batch of validation follows the last step, because
    the checkpoint needs a score; neither is counted.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = asdict(task.config.trainer) | {"limit_val_batches": 1}
        trainer = build_trainer(settings, Path(folder), [ProgressReporter(lambda progress: None)])
        module = TextClassifier.from_config(task.config.model)
        seed_everything(task.config.seed, verbose=False)
        trainer.fit(module, datamodule=task.data)
        measured = speed(trainer)
    work = task.work()
    return SideTiming(
        seconds=measured["training_seconds"],
        rows=work.rows,
        tokens=round(measured["tokens_per_second"] * measured["training_seconds"]),
        positions=work.positions,
        steps=trainer.global_step,
        parameters={name: value.detach() for name, value in module.network.named_parameters()},
    )


def train_with_workers(task: BenchmarkTask) -> SideTiming:
    """Train the task once per thread of the configuration, each time in a process of its own with one thread.

    The processes are kept for the next measurement. Seconds are those of the slowest; rows and tokens are counted over
    all, so that tokens per second are those of the machine.

    Raises:
        ExperimentError: if a process does not get to its start.
    """
    count = task.config.threads
    config = replace(task.config, threads=1)
    try:
        timings = list(worker_processes(count).map(train_together, [config] * count))
    except BrokenBarrierError:
        raise ExperimentError(f"{count} processes of the benchmark did not start together") from None
    return SideTiming(
        seconds=max(timing.seconds for timing in timings),
        rows=sum(timing.rows for timing in timings),
        tokens=sum(timing.tokens for timing in timings),
        positions=sum(timing.positions for timing in timings),
        steps=timings[0].steps,
        parameters=timings[0].parameters,
        copies=count,
    )


@cache
def worker_processes(count: int) -> ProcessPoolExecutor:
    """Return as many processes as asked for, which start at the first task and stay."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, context, initializer=prepare_worker, initargs=(context.Barrier(count),))


def prepare_worker(together: Any) -> None:
    """Prepare a worker process: one thread, and the barrier that it shares with the others."""
    global _together
    _together = together
    prepare_process(1)


def train_together(config: RunConfig) -> SideTiming:
    """Train in this process when all others are ready too."""
    task = BenchmarkTask(config)
    _ = task.data  # read before the clocks run
    _together.wait(PATIENCE)
    return train_with_lightning(task)


def train_with_a_plain_loop(task: BenchmarkTask) -> SideTiming:
    """Train the same network in the bare loop, in the configured precision."""
    return train_in_a_bare_loop(task, task.network(), task.config.trainer.precision)


def train_in_a_bare_loop(task: BenchmarkTask, network: nn.Module, precision: str = "32-true") -> SideTiming:
    """Train a network on the task's length-grouped batches in the shortest loop: no curve, no guard, no file.

    Args:
        task: the batches, the loss, the optimiser and its schedule.
        network: maps ``input_ids`` (B, T) and ``attention_mask`` (B, T), true at real tokens, to logits (B, K).
        precision: ``32-true`` or ``bf16-mixed``.

    Raises:
        ExperimentError: for another precision.
    """
    torch.use_deterministic_algorithms(False)  # Lightning switches it on for the whole process
    config, facts = task.config.model, task.data.facts
    network.train()
    loss_function = build_training_loss(config, facts.class_counts)
    optimizer = build_optimizer(config, network)
    schedule = build_schedule(config, optimizer, facts.steps_per_epoch)
    clip = task.config.trainer.gradient_clip_val
    updated = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    arithmetic = forward_arithmetic(precision)
    ours = network if isinstance(network, Network) else None  # whose scheme may have recipes
    batches = task.data.train_dataloader()
    work, steps = Work(), 0
    started = time.perf_counter()
    for batch in batches:
        if ours and not steps:
            ours.prepare(batch["input_ids"], batch["attention_mask"])
        with arithmetic:
            loss = loss_function(network(batch["input_ids"], batch["attention_mask"]), batch["labels"])
        optimizer.zero_grad()
        loss.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(updated, clip)
        optimizer.step()
        if ours:
            ours.after_step()
        schedule.step()
        work.add(batch["attention_mask"])
        steps += 1
    return SideTiming(
        seconds=time.perf_counter() - started,
        rows=work.rows,
        tokens=work.tokens,
        positions=work.positions,
        steps=steps,
        parameters={name: value.detach() for name, value in network.named_parameters()},
    )


def forward_arithmetic(precision: str) -> AbstractContextManager[object]:
    """Return the context of the forward pass, autocast as Lightning's plugin for mixed precision sets it.

    Raises:
        ExperimentError: for a precision other than ``32-true`` and ``bf16-mixed``.
    """
    match precision:
        case "32-true":
            return nullcontext()
        case "bf16-mixed":
            return torch.autocast("cpu", dtype=torch.bfloat16, cache_enabled=False)
    raise ExperimentError(f"the plain loop trains in 32-true or bf16-mixed, not in {precision}")


def train_peer(name: str, task: BenchmarkTask) -> SideTiming:
    """Train a network of others in the bare loop.

    Raises:
        ExperimentError: if its package is missing.
    """
    from experiments.benchmark.peers import build_peer

    require_package(name)
    return train_in_a_bare_loop(task, build_peer(name, task))


def train_hugging_face(name: str, task: BenchmarkTask) -> SideTiming:
    """Train BERT in the ``Trainer`` of ``transformers``, which draws and pads its own batches.

    Raises:
        ExperimentError: if its package is missing.
    """
    require_package(name)
    from experiments.benchmark import hugging_face_trainer  # its import takes seconds

    if name == "hf_trainer_fixed":
        return hugging_face_trainer.train_with_fixed_padding(task)
    return hugging_face_trainer.train_with_random_batches(task)


SIDES: dict[str, Callable[[BenchmarkTask], SideTiming]] = {
    "lightning": train_with_lightning,
    "workers": train_with_workers,
    "plain": train_with_a_plain_loop,
    **{name: partial(train_peer, name) for name in ("torch_encoder", "hf_bert")},
    **{name: partial(train_hugging_face, name) for name in ("hf_trainer", "hf_trainer_fixed")},
    "x_transformers": partial(train_peer, "x_transformers"),
}
"""The function that trains the task once, by the name of its side."""


def named_side(name: str) -> Callable[[BenchmarkTask], SideTiming]:
    """Return a side by its name.

    Raises:
        ExperimentError: for an unknown name; the message names the nearest.
    """
    reject_unknown("side", name, SIDES)
    return SIDES[name]


def is_available(side: str) -> bool:
    """Tell whether the package that a side needs is installed."""
    return side not in PACKAGES or find_spec(PACKAGES[side]) is not None


def require_package(side: str) -> None:
    """Raise :class:`ExperimentError` with the file to install if a side's package is missing."""
    if not is_available(side):
        raise ExperimentError(
            f"the side {side} needs the package {PACKAGES[side]}, which is not installed: pip install -r {REQUIREMENTS}"
        )
