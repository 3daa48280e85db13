"""The sides of the benchmark: each trains the same task in its own way, in the precision that its roster entry says.

Ours are a run as every grid makes it, and the same network in a bare loop. Networks of others train in that loop too,
or in the ``Trainer`` of ``transformers``.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from torch import Tensor, nn

from experiments.benchmark.roster import ROSTER, precision_of
from experiments.benchmark.task import BenchmarkTask, SideTiming, Work
from experiments.errors import ExperimentError
from experiments.planning.names import reject_unknown
from experiments.runs.conclude import speed
from experiments.runs.execute import ProgressReporter
from experiments.runs.training import build_trainer
from lightning_modules.network.network import Network
from lightning_modules.training.optimization import build_optimizer, build_schedule

REQUIREMENTS = "requirements-benchmark.txt"


class StartingLine(Callback):
    """Calls the task's ``ready`` right before the first batch, and before the callback that times a run.

    Args:
        task: what is trained.
    """

    def __init__(self, task: BenchmarkTask) -> None:
        self.task = task

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Wait for others, if there are any."""
        self.task.ready()


def train_with_lightning(task: BenchmarkTask) -> SideTiming:
    """Train as every run of a grid does: loggers, curves, gradient norms, divergence guard, checkpoint.

    The seconds are those of the callback that times every run. One batch of validation follows the last step, because
    the checkpoint needs a score; neither is counted.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = asdict(task.config.trainer) | task.config.trainer_flags | {"limit_val_batches": 1}
        callbacks = [ProgressReporter(lambda progress: None), StartingLine(task)]
        trainer = build_trainer(settings, Path(folder), callbacks, task=task.spec)
        module = task.spec.load("module").from_config(task.config.model)
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


def train_with_a_plain_loop(task: BenchmarkTask) -> SideTiming:
    """Train the same network in the bare loop, by its task's own loss."""
    module = task.module()
    return train_in_a_bare_loop(task, module.network, lambda batch: module.loss(module(batch), batch), "plain")


def train_in_a_bare_loop(
    task: BenchmarkTask, network: nn.Module, loss_of: Callable[[dict[str, Tensor]], Tensor], side: str
) -> SideTiming:
    """Train a network on the task's batches in the shortest loop: no curve, no guard, no file.

    Args:
        task: the batches, the optimiser and its schedule.
        network: what is trained.
        loss_of: maps a batch to the training loss, a scalar.
        side: whose precision the loop trains in.

    Raises:
        ExperimentError: for a precision other than ``32-true`` and ``bf16-mixed``.
    """
    torch.use_deterministic_algorithms(False)  # Lightning switches it on for the whole process
    config = task.config.model
    network.train()
    optimizer = build_optimizer(config, network)
    schedule = build_schedule(config, optimizer, task.step_count)
    clip = task.config.trainer.gradient_clip_val
    updated = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    arithmetic = forward_arithmetic(precision_of(side, task.config.trainer.precision))
    ours = network if isinstance(network, Network) else None  # whose scheme may have recipes
    batches = task.batches()
    work, steps = Work(), 0
    task.ready()
    started = time.perf_counter()
    for batch in batches:
        if ours and not steps:
            ours.prepare(batch["input_ids"], batch["attention_mask"])
        with arithmetic:
            loss = loss_of(batch)
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
    raise ExperimentError(f"the bare loop trains in 32-true or bf16-mixed, not in {precision}")


def train_peer(name: str, task: BenchmarkTask) -> SideTiming:
    """Train a network of others in the bare loop, by its own loss.

    Raises:
        ExperimentError: if its package is missing.
    """
    from experiments.benchmark.peers import build_peer

    require_package(name)
    peer: Any = build_peer(name, task)
    return train_in_a_bare_loop(task, peer, peer.loss, name)


def train_hugging_face(name: str, task: BenchmarkTask) -> SideTiming:
    """Train BERT in the ``Trainer`` of ``transformers``, which draws and pads its own batches.

    Raises:
        ExperimentError: if its package is missing.
    """
    require_package(name)
    from experiments.benchmark import hugging_face_trainer  # its import takes seconds

    return hugging_face_trainer.TRAINERS[name](task)


SIDES: dict[str, Callable[[BenchmarkTask], SideTiming]] = {
    "lightning": train_with_lightning,
    "plain": train_with_a_plain_loop,
    **{name: partial(train_peer, name) for name, side in ROSTER.items() if not side.ours and side.grouped},
    **{name: partial(train_hugging_face, name) for name in ("hf_trainer", "hf_trainer_fixed", "hf_trainer_tuned")},
}
"""What trains the task once, by the name of its side in the roster."""


def named_side(name: str, task: str) -> Callable[[BenchmarkTask], SideTiming]:
    """Return a side by its name.

    Raises:
        ExperimentError: for an unknown name, of which the message names the nearest, or one that lacks the task.
    """
    reject_unknown("side", name, SIDES)
    if task not in ROSTER[name].tasks:
        able = ", ".join(other for other in SIDES if task in ROSTER[other].tasks)
        raise ExperimentError(f"the side {name} does not train {task}; choose from: {able}")
    return SIDES[name]


def is_available(side: str) -> bool:
    """Tell whether the package that a side needs is installed."""
    package = ROSTER[side].package
    return package is None or find_spec(package) is not None


def require_package(side: str) -> None:
    """Raise :class:`ExperimentError` with the file to install if a side's package is missing."""
    if not is_available(side):
        raise ExperimentError(
            f"the side {side} needs the package {ROSTER[side].package}, which is not installed: "
            f"pip install -r {REQUIREMENTS}"
        )
