"""The inside of the network while it trains: every probe, by depth, on a few training rows."""

from __future__ import annotations

import math
from typing import Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.optim import Optimizer

from lightning_modules.errors import ConfigurationError
from lightning_modules.probes.measuring import Measures, measure
from lightning_modules.tasks.base import Batch, TaskModule
from lightning_modules.training.callbacks.attached import callbacks_of
from lightning_modules.training.callbacks.throughput import Throughput

Depths = list[float | None]
"""One measure at one step by depth, the last block last; None if it has no finite value."""


class Probes(Callback):
    """Measure the network at step 0, after every ``every_n_steps`` optimiser steps and after ``last_step``.

    The rows are always the same, the first of the data module's training sample, and dropout is off. No number of the
    training depends on whether it is probed. TensorBoard shows ``probe/<measure>/block_00`` and so on, and
    ``probe/<measure>/embedding`` for measures of the stream, which begin there. ``update_ratio_…`` belongs to the step
    that led to the measured weights, so step 0 has none.

    Args:
        every_n_steps: optimiser steps between two measurements.
        rows: training rows to measure on.
        last_step: a step to measure after in any case, if training ends there.

    Attributes:
        steps: optimiser steps before each measurement.
        values: per measure a list by measurement, each a list by depth.

    Raises:
        ConfigurationError: a number is below 1, or the data module has no training sample.
    """

    def __init__(self, every_n_steps: int, rows: int = 32, last_step: int | None = None) -> None:
        for name, value in (("every_n_steps", every_n_steps), ("rows", rows)):
            if value < 1:
                raise ConfigurationError(f"probes.{name} is {value}; it must be at least 1")
        self.every_n_steps = every_n_steps
        self.rows = rows
        self.last_step = last_step
        self.steps: list[int] = []
        self.values: dict[str, list[Depths]] = {}
        self._batch: Batch = {}
        self._weights_before: dict[Tensor, Tensor] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Fetch the rows; measure the untrained network."""
        datamodule = getattr(trainer, "datamodule", None)
        if not hasattr(datamodule, "train_sample"):
            raise ConfigurationError("probes need a data module with train_sample(rows)")
        batch = cast(Any, datamodule).train_sample(self.rows)
        self._batch = {name: value.to(pl_module.device) for name, value in batch.items()}
        if trainer.global_step == 0:
            self._probe(trainer, pl_module)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Keep the weights of the blocks where this step's update will be measured."""
        assert isinstance(pl_module, TaskModule)
        if self._is_due(trainer.global_step + 1):
            weights = pl_module.network.blocks.parameters()
            self._weights_before = {parameter: parameter.detach().clone() for parameter in weights}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Measure after every ``every_n_steps`` optimiser steps, while the clock of the throughput is stopped."""
        step = trainer.global_step
        if not self._is_due(step) or step in self.steps[-1:]:  # several batches may share an optimiser step
            return
        clocks = [callback for callback in callbacks_of(trainer) if isinstance(callback, Throughput)]
        for clock in clocks:
            clock.pause()
        self._probe(trainer, pl_module)
        for clock in clocks:
            clock.resume()

    def _is_due(self, step: int) -> bool:
        return step % self.every_n_steps == 0 or step == self.last_step

    def _probe(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, TaskModule)
        measures = measure(
            pl_module.network,
            self._batch["input_ids"],
            self._batch["attention_mask"],
            lambda outputs: pl_module.loss(outputs, self._batch),
            weights_before=self._weights_before,
        )
        self._weights_before = None
        self._keep(trainer.global_step, measures)
        points = curve_points(self.values, blocks=len(list(pl_module.network.blocks.children())))
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.log_metrics(points, step=trainer.global_step)

    def _keep(self, step: int, measures: Measures) -> None:
        """Append a measurement; if a measure is missing now or was before, its depths are empty."""
        for name, by_depth in measures.items():
            absent: list[Depths] = [[None] * len(by_depth) for _ in self.steps]
            self.values.setdefault(name, absent).append([v if math.isfinite(v) else None for v in by_depth])
        self.steps.append(step)
        for by_step in self.values.values():
            if len(by_step) < len(self.steps):
                by_step.append([None] * len(by_step[0]))

    def as_record(self) -> dict[str, Any]:
        """Return ``step`` and every measure, as plain lists for a record."""
        return {
            "step": list(self.steps),
            **{name: [list(by_depth) for by_depth in by_step] for name, by_step in self.values.items()},
        }

    def state_dict(self) -> dict[str, Any]:
        """Return what was measured so far."""
        return self.as_record()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what was measured before the interruption."""
        self.steps = list(state_dict["step"])
        self.values = {name: by_step for name, by_step in state_dict.items() if name != "step"}


def curve_points(values: dict[str, list[Depths]], *, blocks: int) -> dict[str, float]:
    """Return the latest measurement as points of curves, ``probe/<measure>/<part>``, without those that are None."""
    points = {}
    for name, by_step in values.items():
        parts = [f"block_{index:02d}" for index in range(blocks)]
        if len(by_step[-1]) > blocks:
            parts = ["embedding", *parts]
        for part, value in zip(parts, by_step[-1], strict=True):
            if value is not None:
                points[f"probe/{name}/{part}"] = value
    return points
