"""The shortest training loop: the same arithmetic as a run, and nothing else."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from experiments.benchmarking.task import Task, Timing, Work
from experiments.errors import ExperimentError
from lightning_modules.training.losses import build_training_loss
from lightning_modules.training.optimization import build_optimizer, build_schedule


def train_in_a_bare_loop(task: Task, network: nn.Module, precision: str = "32-true") -> Timing:
    """Train a network on the task's length-grouped batches: no curve, no guard, no file.

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
    batches = task.data.train_dataloader()
    work, steps = Work(), 0
    started = time.perf_counter()
    for batch in batches:
        with arithmetic:
            loss = loss_function(network(batch["input_ids"], batch["attention_mask"]), batch["labels"])
        optimizer.zero_grad()
        loss.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(updated, clip)
        optimizer.step()
        schedule.step()
        work.add(batch["attention_mask"])
        steps += 1
    seconds = time.perf_counter() - started
    parameters = {name: value.detach() for name, value in network.named_parameters()}
    return Timing(
        seconds=seconds,
        rows=work.rows,
        tokens=work.tokens,
        positions=work.positions,
        steps=steps,
        parameters=parameters,
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
