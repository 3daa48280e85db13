"""The curves of a run, as plain lists for its record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from lightning_modules.tasks.base import TaskModule
from lightning_modules.training.callbacks.attached import callbacks_of
from lightning_modules.training.callbacks.gradient_norms import GradientNorms
from lightning_modules.training.callbacks.probes import Probes
from lightning_modules.training.processes import mean, total


class History(Callback):
    """Collect what the curves of a run need.

    Training metrics need a data module with ``train_sample_dataloader``. Measuring them leaves no trace: it runs in
    evaluation mode, and the state of every random generator is put back, because a loader draws a seed when it starts.

    Args:
        metrics: metrics of the task to keep at each validation, by name; None keeps all that it has.
        train_metrics: metrics to measure then on a fixed sample of training rows too.

    Attributes:
        tokens: real tokens trained on.
        train: lists ``step, tokens, loss, learning_rate, gradient_norm``, at the first step and at logged ones.
        validation: lists ``step, tokens``, one for each metric and ``train_<name>`` for each training metric, with one
            entry per validation.
    """

    def __init__(self, metrics: Sequence[str] | None = None, train_metrics: Sequence[str] = ()) -> None:
        self.metrics = metrics
        self.train_metrics = train_metrics
        self.tokens = 0
        self.train: dict[str, list[Any]] = {
            name: [] for name in ("step", "tokens", "loss", "learning_rate", "gradient_norm")
        }
        self.validation: dict[str, list[Any]] = {
            name: [] for name in ("step", "tokens", *(metrics or ()), *(f"train_{name}" for name in train_metrics))
        }
        self._learning_rate = 0.0

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Note the rate of this step; when the batch ends, the schedule has already moved on."""
        self._learning_rate = float(optimizer.param_groups[0]["lr"])

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count tokens and, at the first and at logged steps, append a point of the training curves."""
        assert isinstance(pl_module, TaskModule)
        self.tokens += total(trainer, pl_module.tokens_in(batch))
        step = trainer.global_step
        if step == 0 or step in self.train["step"][-1:]:  # several batches may share an optimiser step
            return
        if not (pl_module.was_logged_step or (step == 1 and not self.train["step"])):
            return
        gradient_norm = pl_module.gradient_norm
        point: dict[str, Any] = {
            "step": step,
            "tokens": self.tokens,
            "loss": mean(trainer, outputs["loss"]) * trainer.accumulate_grad_batches,  # Lightning has divided it
            "learning_rate": self._learning_rate,
            "gradient_norm": None if gradient_norm is None else float(gradient_norm),
        }
        for name, value in point.items():
            self.train[name].append(value)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Append a point of the validation curves; the sanity check before training is no validation."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        assert isinstance(pl_module, TaskModule)
        names = pl_module.metric_names() if self.metrics is None else self.metrics
        metrics = {name: float(trainer.callback_metrics[f"validation/{name}"]) for name in names}
        if self.train_metrics:
            metrics |= self._measure_training_rows(trainer, pl_module)
        for name, value in {"step": trainer.global_step, "tokens": self.tokens, **metrics}.items():
            self.validation.setdefault(name, []).append(value)

    def _measure_training_rows(self, trainer: Trainer, module: TaskModule) -> dict[str, float]:
        """Measure the sample of training rows: ``train_<name>`` for each training metric."""
        loader = cast(Any, trainer).datamodule.train_sample_dataloader()
        devices = [module.device] if module.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), cast(Any, trainer).precision_plugin.forward_context():
            found = module.evaluate(loader).metrics
        return {f"train_{name}": found[name] for name in self.train_metrics}

    def as_record(self, trainer: Trainer) -> dict[str, Any]:
        """The ``history`` of a record: these curves and what the trainer's other callbacks measured.

        It has gradient norms by depth where :class:`GradientNorms` took part, and ``probes`` where :class:`Probes` did.
        """
        callbacks = callbacks_of(trainer)
        measured = [callback for callback in callbacks if isinstance(callback, GradientNorms)]
        norms = measured[0].state_dict() if measured else {"steps": [], "blocks": []}
        record: dict[str, Any] = {
            "train": {name: list(values) for name, values in self.train.items()},
            "validation": {name: list(values) for name, values in self.validation.items()},
            "gradient_norms": {"step": norms["steps"], "blocks": norms["blocks"]},
        }
        for callback in callbacks:
            if isinstance(callback, Probes):
                record["probes"] = callback.as_record()
        return record

    def state_dict(self) -> dict[str, Any]:
        """Return the curves so far."""
        return {"tokens": self.tokens, "train": self.train, "validation": self.validation}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the curves before the interruption."""
        self.tokens, self.train, self.validation = (state_dict[name] for name in ("tokens", "train", "validation"))
