"""The LightningModule: a Transformer classifier with its loss, optimiser, schedule and metrics."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Self, cast

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim import Optimizer
from torchmetrics import MetricCollection

from lightning_modules.config import ModelConfig
from lightning_modules.errors import ConfigurationError
from lightning_modules.facts import SupportsFacts, TaskFacts
from lightning_modules.network.dropout import batch_seed
from lightning_modules.network.network import Network, build_network
from lightning_modules.training.compilers import missing_compiler
from lightning_modules.training.losses import build_evaluation_loss, build_training_loss
from lightning_modules.training.metrics import MeanLoss, build_metrics
from lightning_modules.training.optimization import build_optimizer, build_schedule
from lightning_modules.training.processes import gradient_norm, weighted_by_rows

Batch = dict[str, Tensor]
"""``input_ids`` (B, T), ``attention_mask`` (B, T) bool, ``labels`` (B,), ``rows`` (B,)."""


class TextClassifier(LightningModule):
    """A Transformer encoder that classifies text.

    The network is built when the trainer calls :meth:`configure_model`, from the facts of its data module; outside a
    trainer, call :meth:`build` with facts. Checkpoints carry both settings and facts.

    Args:
        settings: fields of :class:`~lightning_modules.config.ModelConfig`.

    Attributes:
        network: the built network.
        gradient_norm: L2 norm of the whole gradient of the latest step, before clipping.

    Raises:
        ConfigurationError: a field is unknown to the scheme, out of range, or at odds with another.
    """

    network: Network

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.config = ModelConfig(**settings)
        self.facts: TaskFacts | None = None
        self.gradient_norm: Tensor | None = None
        self.save_hyperparameters(asdict(self.config), logger=False)

    def configure_model(self) -> None:
        """Build the network from the data module's facts, once."""
        if self.facts is None:
            datamodule = getattr(self.trainer, "datamodule", None)
            if datamodule is None:
                raise ConfigurationError("the classifier needs a data module with facts, or a call of build(facts)")
            self.build(datamodule.facts)
            if self.device_mesh is not None:
                self._shard()
        if self.config.compile and self.trainer.state.fn == TrainerFn.FITTING:
            self._compile()

    def _compile(self) -> None:
        missing = missing_compiler(self.trainer.strategy.root_device)
        if missing:
            raise ConfigurationError(f"model.compile is true, but {missing}; set it to false or install one")
        self.network.compile_blocks()

    def _shard(self) -> None:
        """Spread the weights of every block, and of the rest, over the processes of the strategy."""
        from torch.distributed.fsdp import fully_shard

        assert self.device_mesh is not None
        for module in (*self.network.blocks.children(), self.network):
            fully_shard(module, mesh=self.device_mesh["data_parallel"])

    def build(self, facts: SupportsFacts) -> None:
        """Build network, losses and metrics for a text with these facts."""
        self.facts = TaskFacts.of(facts)
        number_of_classes = len(self.facts.class_names)
        self.network = build_network(
            self.config,
            vocabulary_size=self.facts.vocabulary_size,
            outputs=number_of_classes,
            max_length=self.facts.max_length,
            padding_id=self.facts.padding_id,
        )
        self.training_loss = build_training_loss(self.config, self.facts.class_counts)
        self.evaluation_loss = build_evaluation_loss(self.config)
        self.validation_loss, self.test_loss = MeanLoss(), MeanLoss()
        self.validation_metrics = build_metrics(number_of_classes, "validation")
        self.test_metrics = build_metrics(number_of_classes, "test")

    def forward(self, batch: Batch) -> Tensor:
        """Return the logits ``(B, K)`` of a batch."""
        return self.network(batch["input_ids"], batch["attention_mask"])

    @property
    def is_logged_step(self) -> bool:
        """Whether the trainer logs the step that is being taken; asking is cheaper than logging in vain."""
        return self._logs_at(self.trainer.global_step + 1)

    @property
    def was_logged_step(self) -> bool:
        """Whether the trainer logs the step that was just taken, for hooks at a batch's end."""
        return self._logs_at(self.trainer.global_step)

    def _logs_at(self, step: int) -> bool:
        interval = cast(Any, self.trainer).log_every_n_steps  # set by a connector, so its class does not declare it
        return interval > 0 and step % interval == 0

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed PyTorch from (seed, epoch, batch), so that a resumed run draws the same dropout as an undisturbed one.

        Before the first step of a new run the scheme's recipes see the first batch; a resumed one is prepared already.
        The hook at an epoch's start would not do: Lightning skips it after a checkpoint from an epoch's end.
        """
        seed = batch_seed(self.config.seed, self.current_epoch, batch_idx, self.global_rank)
        if self.device.type == "cpu":
            torch.default_generator.manual_seed(seed)  # manual_seed takes a traceback for every absent device, 0.5 ms
        else:
            torch.manual_seed(seed)
        if batch_idx == 0 and int(self.network.backbone.step) == 0:
            self.network.prepare(batch["input_ids"], batch["attention_mask"])

    def optimizer_step(self, *arguments: Any, **named: Any) -> None:
        """Take an optimiser step, count it, and let the scheme's recipes change the weights after it."""
        super().optimizer_step(*arguments, **named)
        self.network.after_step()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the training loss of a batch."""
        loss = self.training_loss(self(batch), batch["labels"])
        loss = weighted_by_rows(self.trainer, loss, len(batch["labels"]))
        if self.is_logged_step:
            self.log("train/loss", loss.detach(), prog_bar=True)
            self.log("learning_rate", self.trainer.optimizers[0].param_groups[0]["lr"])
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Add a batch to the validation metrics; return the ``predicted`` classes ``(B,)`` for callbacks."""
        return self._evaluate(batch, "validation", self.validation_loss, self.validation_metrics)

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Add a batch to the test metrics; return the ``predicted`` classes ``(B,)`` for callbacks."""
        return self._evaluate(batch, "test", self.test_loss, self.test_metrics)

    def _evaluate(self, batch: Batch, stage: str, loss: MeanLoss, metrics: MetricCollection) -> dict[str, Tensor]:
        logits = self(batch).float()
        predicted = logits.argmax(dim=-1)
        metrics.update(predicted, batch["labels"])
        rows = len(batch["labels"])
        loss.update(self.evaluation_loss(logits, batch["labels"]), rows)
        self.log(f"{stage}/loss", loss, on_epoch=True, batch_size=rows)
        self.log_dict(cast(Any, metrics), on_epoch=True, batch_size=rows)
        return {"predicted": predicted}

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Measure the gradient once, then clip it where the trainer asks for that."""
        updated = (parameter for group in optimizer.param_groups for parameter in group["params"])
        parameters = [parameter for parameter in updated if parameter.grad is not None]  # walking modules costs more
        self.gradient_norm = gradient_norm(parameters)
        if not gradient_clip_val:
            return
        if gradient_clip_algorithm == "value":
            torch.nn.utils.clip_grad_value_(parameters, gradient_clip_val)
        else:
            torch.nn.utils.clip_grads_with_norm_(parameters, gradient_clip_val, self.gradient_norm)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Build the optimiser and its schedule, whose length is configuration and not what is left to do."""
        optimizer = build_optimizer(self.config, self.network)
        schedule = build_schedule(self.config, optimizer, self.total_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @property
    def total_steps(self) -> int:
        """Optimiser steps that the schedule spans.

        Raises:
            ConfigurationError: neither ``schedule_epochs`` nor ``trainer.max_epochs`` says how many.
        """
        epochs = self.config.schedule_epochs or self.trainer.max_epochs
        if epochs is None or epochs < 1:
            raise ConfigurationError("model.schedule_epochs must be set where trainer.max_epochs is not")
        assert self.facts is not None, "configure_model() builds the network before the optimiser"
        return epochs * math.ceil(self.facts.steps_per_epoch / self.trainer.accumulate_grad_batches)

    def with_weights(self, state_dict: dict[str, Any]) -> TextClassifier:
        """Return a classifier of the same settings and facts with the given weights, on the CPU."""
        assert self.facts is not None, "configure_model() builds the network"
        other = TextClassifier(**vars(self.config))
        other.build(self.facts)
        other.load_state_dict(state_dict)
        return other

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the facts, so that the checkpoint can be loaded without data."""
        if self.facts is not None:
            checkpoint["facts"] = self.facts.as_dict()

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: str | Path | IO[bytes],
        map_location: Any = None,
        hparams_file: str | Path | None = None,
        strict: bool | None = None,
        weights_only: bool | None = None,
        **settings: Any,
    ) -> Self:
        """Load settings, facts and weights; the module is in evaluation mode.

        Args:
            checkpoint_path: a checkpoint of a run, or an open file of one.
            map_location: where the weights go; by default to the CPU.
            hparams_file: not taken, since a checkpoint holds its settings.
            strict: whether the weights must be exactly the network's; by default they must.
            weights_only: nothing but tensors and plain values is unpickled, whatever is asked for.
            settings: fields of :class:`ModelConfig` to take instead of the checkpoint's.

        Raises:
            ConfigurationError: the file is damaged or is no checkpoint of this class, or ``hparams_file`` is given.
        """
        if hparams_file is not None:
            raise ConfigurationError("a checkpoint holds its settings; give others by name instead of hparams_file")
        try:
            checkpoint = torch.load(checkpoint_path, map_location=map_location or "cpu", weights_only=True)
            weights = checkpoint["state_dict"]
            module = cls(**{**checkpoint[cls.CHECKPOINT_HYPER_PARAMS_KEY], **settings})
            module.build(TaskFacts(**checkpoint["facts"]))
            module.load_state_dict(weights, strict=strict is not False)
            module.to(next(iter(weights.values())).device)
        except FileNotFoundError:
            raise
        except Exception as error:
            raise ConfigurationError(
                f"{checkpoint_path} is not a readable checkpoint of a classifier: {error}"
            ) from error
        return module.eval()
