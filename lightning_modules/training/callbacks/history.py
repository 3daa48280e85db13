"""The curves of a run, as plain lists for its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from lightning_modules.tasks.classification import TextClassifier
from lightning_modules.training.callbacks.attached import callbacks_of
from lightning_modules.training.callbacks.gradient_norms import GradientNorms
from lightning_modules.training.callbacks.probes import Probes
from lightning_modules.training.evaluation import predict, score
from lightning_modules.training.processes import mean, total

TRAIN_MACRO_F1 = "train_macro_f1"
VALIDATION_METRICS = ("loss", "accuracy", "macro_f1")


class History(Callback):
    """Collect what the curves of a run need.

    Attributes:
        tokens: real tokens trained on.
        train: lists ``step, tokens, loss, learning_rate, gradient_norm``, at the first step and at logged ones.
        validation: lists ``step, tokens, loss, accuracy, macro_f1``, one entry per validation.
    """

    def __init__(self) -> None:
        self.tokens = 0
        self.train: dict[str, list[Any]] = {
            name: [] for name in ("step", "tokens", "loss", "learning_rate", "gradient_norm")
        }
        self.validation: dict[str, list[Any]] = {name: [] for name in ("step", "tokens", *VALIDATION_METRICS)}
        self._learning_rate = 0.0

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Note the rate of this step; when the batch ends, the schedule has already moved on."""
        self._learning_rate = float(optimizer.param_groups[0]["lr"])

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count tokens and, at the first and at logged steps, append a point of the training curves."""
        assert isinstance(pl_module, TextClassifier)
        self.tokens += total(trainer, int(batch["attention_mask"].sum()))
        step = trainer.global_step
        if step == 0 or step in self.train["step"][-1:]:  # several batches may share an optimiser step
            return
        if not (pl_module.was_logged_step or (step == 1 and not self.train["step"])):
            return
        gradient_norm = pl_module.gradient_norm
        self.add_train_point(
            step=step,
            tokens=self.tokens,
            loss=mean(trainer, outputs["loss"]) * trainer.accumulate_grad_batches,  # Lightning has divided it
            learning_rate=self._learning_rate,
            gradient_norm=None if gradient_norm is None else float(gradient_norm),
        )

    def add_train_point(self, **point: float | None) -> None:
        """Append one value to every list of ``train``."""
        for name in self.train:
            self.train[name].append(point[name])

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Append a point of the validation curves; the sanity check before training is no validation."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        metrics = {name: float(trainer.callback_metrics[f"validation/{name}"]) for name in VALIDATION_METRICS}
        self.add_validation_point(trainer.global_step, self.tokens, metrics)

    def add_validation_point(self, step: int, tokens: int, metrics: Mapping[str, float]) -> None:
        """Append a step, the tokens seen by then, and what stands in ``metrics`` under the names of the curves."""
        for name, value in {
            "step": step,
            "tokens": tokens,
            **{name: metrics[name] for name in VALIDATION_METRICS},
        }.items():
            self.validation[name].append(value)

    def as_record(self, trainer: Trainer) -> dict[str, Any]:
        """Return the ``history`` of a record.

        It has gradient norms by depth where :class:`GradientNorms` took part, and ``probes`` where :class:`Probes` did.
        """
        return self.beside(callbacks_of(trainer))

    def beside(self, callbacks: Sequence[Callback]) -> dict[str, Any]:
        """Return the ``history`` of a record: these curves and what the other ``callbacks`` of the run measured."""
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


class HistoryWithTrainScores(History):
    """Also score a fixed sample of training rows at every validation: ``train_macro_f1`` in ``validation``.

    The data module must have ``train_sample_dataloader``. The measurement leaves no trace: it runs in evaluation mode,
    and the state of every random generator is put back, because a loader draws a seed when it is started.
    """

    def __init__(self) -> None:
        super().__init__()
        self.validation[TRAIN_MACRO_F1] = []

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Append a point of the validation curves and the macro-F1 on the sample of training rows."""
        super().on_validation_end(trainer, pl_module)
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        assert isinstance(pl_module, TextClassifier) and pl_module.facts is not None
        loader = cast(Any, trainer).datamodule.train_sample_dataloader()
        devices = [pl_module.device] if pl_module.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), cast(Any, trainer).precision_plugin.forward_context():
            predictions = predict(pl_module, loader)
        self.validation[TRAIN_MACRO_F1].append(score(predictions, pl_module.facts.class_names)["macro_f1"])
