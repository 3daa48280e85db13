"""What Lightning would have left in a member's folder: the best checkpoint and the curves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning.pytorch
import torch
from lightning.pytorch.loggers import Logger

from experiments.runs.training import BEST
from lightning_modules.population.members import Member
from lightning_modules.tasks.classification import TextClassifier
from lightning_modules.training.callbacks.history import VALIDATION_METRICS


def write_best_checkpoint(folder: Path, module: TextClassifier, member: Member) -> Path | None:
    """Write ``best.ckpt``, which loads like one that Lightning wrote; nothing where there was no validation.

    The module is given the last weights.
    """
    checkpoint = None
    if member.best is not None:
        module.network.load_state_dict(member.best.weights)
        saved: dict[str, Any] = {
            "epoch": member.best.epoch,
            "global_step": member.best.step,
            "pytorch-lightning_version": lightning.pytorch.__version__,
            "state_dict": module.state_dict(),
            TextClassifier.CHECKPOINT_HYPER_PARAMS_KEY: asdict(module.config),
        }
        module.on_save_checkpoint(saved)
        checkpoint = folder / BEST
        torch.save(saved, checkpoint)
    module.network.load_state_dict(member.last)
    return checkpoint


def write_curves(loggers: Iterable[Logger], history: dict[str, Any], parts: list[str], every: int) -> None:
    """Write the curves of a record under the names and steps at which Lightning logs them.

    Throughput, macro precision and recall, and pictures of confusion matrices are not there: nothing measured them.

    Args:
        loggers: where to.
        history: of the record.
        parts: names of the gradient norms by depth.
        every: steps between two logged ones; the first step stands in the record alone.
    """
    points: dict[int, dict[str, float]] = {}
    train, norms, validation = (history[name] for name in ("train", "gradient_norms", "validation"))
    for index, step in enumerate(train["step"]):
        if step % every == 0:
            points[step] = {"train/loss": train["loss"][index], "learning_rate": train["learning_rate"][index]}
            points[step]["gradient_norm/all"] = train["gradient_norm"][index]
    for step, values in zip(norms["step"], norms["blocks"], strict=True):
        if step in points:
            points[step] |= {f"gradient_norm/{part}": value for part, value in zip(parts, values, strict=True)}
    for index, step in enumerate(validation["step"]):
        scores = {f"validation/{name}": validation[name][index] for name in VALIDATION_METRICS}
        points[step] = points.get(step, {}) | scores
    for logger in loggers:
        for step in sorted(points):
            logger.log_metrics(points[step], step - 1)  # Lightning counts steps from zero
        logger.save()
