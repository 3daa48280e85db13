"""What every task shares: a LightningModule over a network, with its seeds, optimiser, schedule and checkpoints."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NoReturn, Self, cast

import torch
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import Metric, MetricCollection

from lightning_modules.config import ModelConfig
from lightning_modules.errors import ConfigurationError, SpoiltWeights
from lightning_modules.facts import TaskFacts, steps_in_epoch
from lightning_modules.network.dropout import batch_seed
from lightning_modules.network.heads import ClassificationHead
from lightning_modules.network.network import Network, build_network
from lightning_modules.schemes.variants import ROWS
from lightning_modules.tasks.checkpoints import CheckpointedModule
from lightning_modules.training.compilers import missing_compiler
from lightning_modules.training.metrics import alone
from lightning_modules.training.optimization import build_optimizer, build_schedule
from lightning_modules.training.processes import (
    FullyShardedStrategy,
    gradient_norm,
    is_first_process,
    rows_of_all,
    weighted_by_rows,
)
from lightning_modules.training.starting import TakenWeights, WeightStart, WordStart

Batch = dict[str, Tensor]
"""``input_ids`` (B, T), ``attention_mask`` (B, T) bool, ``rows`` (B,) and what the task needs, such as ``labels``."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a task says of its present weights on one split."""

    metrics: dict[str, float]
    """Value by name, over all rows of the split."""
    details: dict[str, Any] = field(default_factory=dict)
    """Plain values that the task adds for its own tables, such as a confusion matrix."""
    predictions: Any = None
    """What was answered for each row, with ``rows`` (N,) and ``columns()``; None for a task that keeps no answers."""


class TaskModule(CheckpointedModule):
    """A network that is trained for a task.

    A task is a subclass. It says what its network answers (:meth:`outputs`) and what training minimises (:meth:`loss`).
    It also says what evaluation looks at (:meth:`observe`) and what it measures (:meth:`metrics`). The network is built
    when the trainer calls :meth:`configure_model`, from the facts of its data module; outside a trainer, call
    :meth:`build` with facts. Checkpoints carry both settings and facts.

    Args:
        settings: fields of :class:`~lightning_modules.config.ModelConfig`.

    Attributes:
        network: the built network.
        gradient_norm: L2 norm of the whole gradient of the latest step, before clipping.
        step_budget: optimiser steps after which training ends, if the trainer has a ``StepBudget``.
        start: weights of an earlier network to start from, to be set before the network is built.
        taken: what became of them, once it is built.
        words: word vectors to start the embeddings from, likewise.

    Raises:
        ConfigurationError: a field is unknown to the scheme, out of range, or at odds with another.
    """

    network: Network

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.config = ModelConfig(**settings)
        self.gradient_norm: Tensor | None = None
        self.step_budget: int | None = None
        self.start: WeightStart | None = None
        self.taken: TakenWeights | None = None
        self.words: WordStart | None = None
        self.save_hyperparameters(asdict(self.config), logger=False)

    @classmethod
    def from_config(cls, config: ModelConfig, facts: Any = None) -> Self:
        """Make the module of a configuration; with the facts of a text, its network is built too."""
        module = cls(**vars(config))
        if facts is not None:
            module.build(facts)
        return module

    # What a task says of itself.

    @abstractmethod
    def outputs(self) -> int:
        """Numbers that the head gives for a row, or a token; called once the facts are known."""

    def build_head(self, config: ModelConfig, outputs: int) -> nn.Module:
        """Build what reads the backbone, called as ``head(x, attention_mask)``; by default it pools a row's tokens."""
        return ClassificationHead(config, outputs)

    @property
    def is_causal(self) -> bool:
        """Whether a token sees only itself and what comes before it."""
        return self.config.causal

    @abstractmethod
    def loss(self, outputs: Any, batch: Batch) -> Tensor:
        """Training loss, a scalar, of what a network answered for a batch."""

    @abstractmethod
    def observe(self, outputs: Any, batch: Batch) -> dict[str, Any]:
        """What evaluation keeps of a batch, under the argument names of the metrics' ``update``.

        ``loss`` (a mean over the batch's rows) and ``rows`` (their number) must be among them.
        """

    @abstractmethod
    def metrics(self) -> dict[str, Metric]:
        """Fresh metrics by name; ``loss`` is one of them, a :class:`~lightning_modules.training.metrics.MeanLoss`."""

    # What all tasks share.

    def build(self, facts: Any) -> None:
        """Build network and metrics for a text with these facts (:class:`~lightning_modules.facts.TaskFacts`)."""
        if self.config.adversarial != "none" and type(self).objective is TaskModule.objective:
            raise ConfigurationError(
                f"model.adversarial is {self.config.adversarial}, and only a classifier trains so; set it to none"
            )
        self.facts = TaskFacts.of(facts)
        self.network = build_network(
            self.config,
            vocabulary_size=self.facts.vocabulary_size,
            outputs=self.outputs(),
            max_length=self.facts.max_length,
            padding_id=None if self.facts.padding_id == self.facts.end_id else self.facts.padding_id,
            head=self.build_head,
            causal=self.is_causal,
        )
        if self.words is not None:
            self.words.apply(self.network, self.config.seed)
        if self.start is not None:
            self.taken = self.start.apply(self.network)
        self.load_waiting()
        self.validation_metrics = MetricCollection(cast(Any, self.metrics()), prefix="validation/")
        self.test_metrics = MetricCollection(cast(Any, self.metrics()), prefix="test/")

    def configure_model(self) -> None:
        """Build the network from the data module's facts, once."""
        if self.facts is None:
            datamodule = getattr(self.trainer, "datamodule", None)
            if datamodule is None:
                raise ConfigurationError("the task needs a data module with facts, or a call of build(facts)")
            self.build(datamodule.facts)
            if self.device_mesh is not None:
                self._shard()
        if self.trainer.precision == "16-true":
            raise ConfigurationError(
                "trainer.precision is 16-true, in which Adam's ε and small gradients are zero; choose bf16-true or "
                "16-mixed"
            )
        if self.trainer.world_size > 1 and ROWS in self.config.scheme.mixes:
            raise ConfigurationError(
                f"variant {self.config.variant} computes with all rows of a batch, and each of several devices sees a "
                "part; train it on one device"
            )
        if self.config.compile and self.trainer.state.fn == TrainerFn.FITTING:
            self._compile()

    def _compile(self) -> None:
        missing = missing_compiler(self.trainer.strategy.root_device)
        if missing:
            raise ConfigurationError(f"model.compile is true, but {missing}; set it to false or install one")
        self.network.compile_blocks()

    def _shard(self) -> None:
        """Spread the weights of every block, and of the rest, over the processes of the strategy."""
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

        assert self.device_mesh is not None
        for module in (*self.network.blocks.children(), self.network):
            fully_shard(module, mesh=self.device_mesh["data_parallel"])
        register_fsdp_forward_method(self.network, "answers")  # which language models call instead of forward

    def gathered(self) -> Self:
        """The trained module with all weights in this process, after training; all processes must call it.

        If the weights were spread, only the first process has them afterwards, on the CPU.
        """
        if not isinstance(self.trainer.strategy, FullyShardedStrategy):
            return self
        state = self.trainer.strategy.lightning_module_state_dict()
        if not is_first_process():
            return self
        whole = self.from_config(self.config, self.facts)
        whole.load_state_dict(state)
        return whole

    def weight_of(self, batch: Batch) -> int:
        """How many items the training loss of a batch is a mean over: its rows."""
        return len(batch["input_ids"])

    def forward(self, batch: Batch) -> Any:
        """What the network answers for a batch."""
        return self.network(batch["input_ids"], batch["attention_mask"])

    def metric_names(self) -> list[str]:
        """Names of the task's metrics, as they are logged behind ``validation/``."""
        return [str(name) for name in self.validation_metrics.keys(keep_base=True)]

    def tokens_in(self, batch: Batch) -> int:
        """Number of real tokens of a batch, without padding."""
        return int(batch["attention_mask"].sum())

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

        Before the first step of a new run the scheme's recipes see the first batch of all processes. So all of them
        change the weights alike. A resumed run is prepared already. The hook at an epoch's start would not do:
        Lightning skips it after a checkpoint from an epoch's end.
        """
        seed = batch_seed(self.config.seed, self.current_epoch, batch_idx, self.global_rank)
        if self.device.type == "cpu":
            torch.default_generator.manual_seed(seed)  # manual_seed takes a traceback for every absent device, 0.5 ms
        else:
            torch.manual_seed(seed)
        if batch_idx == 0 and int(self.network.backbone.step) == 0 and self.start is None:
            self.network.prepare(*rows_of_all(batch["input_ids"], batch["attention_mask"], self.trainer.world_size))

    def optimizer_step(self, *arguments: Any, **named: Any) -> None:
        """Take an optimiser step, count it, and let the scheme's recipes change the weights after it."""
        super().optimizer_step(*arguments, **named)
        self.network.after_step()

    def on_train_start(self) -> None:
        """Refuse what would change the length of the schedule that the facts imply: other loaders, other accumulation.

        Raises:
            ConfigurationError: an epoch has another number of batches, or its steps vary from epoch to epoch.
        """
        expected = steps_in_epoch(self._facts().steps_per_epoch, self._limit)
        found = self.trainer.num_training_batches
        if found != expected:
            raise ConfigurationError(
                f"the training loader has {found} batches an epoch and the facts of the text say {expected}, so the "
                "schedule would have another length; build the task with facts whose steps_per_epoch is that of the "
                "loader"
            )
        if any(isinstance(callback, GradientAccumulationScheduler) for callback in cast(Any, self.trainer).callbacks):
            raise ConfigurationError(
                "a GradientAccumulationScheduler changes how many steps an epoch has, so its length could not "
                "be known; use the trainer's accumulate_grad_batches"
            )

    @property
    def _limit(self) -> float | None:
        """The trainer's ``limit_train_batches``, which a connector sets without declaring it."""
        return cast(Any, self.trainer).limit_train_batches

    def _facts(self) -> TaskFacts:
        assert self.facts is not None, "configure_model() builds the network"
        return self.facts

    def on_predict_start(self) -> None:
        """Refuse several devices: each would return a part of the answers, in its own order.

        Raises:
            ConfigurationError: there are several.
        """
        if self.trainer.world_size > 1:
            raise ConfigurationError("each of several devices would return a part of the answers; predict on one")

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """What the network answers for a batch, rows in the order of the split.

        Raises:
            SpoiltWeights: an answer is not finite.
        """
        outputs = self(batch)
        if not bool(outputs.isfinite().all()):
            raise SpoiltWeights(f"the network's answer to batch {batch_idx} is not finite")
        return outputs

    def objective(self, batch: Batch) -> Tensor:
        """What a training step minimises: the loss, unless a task has more."""
        return self.loss(self(batch), batch)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Compute the training loss of a batch."""
        loss = weighted_by_rows(self.trainer, self.objective(batch), self.weight_of(batch))
        if self.is_logged_step:
            self.log("train/loss", loss.detach(), prog_bar=True)
            self.log("learning_rate", self.trainer.optimizers[0].param_groups[0]["lr"])
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Add a batch to the validation metrics; callbacks get what :meth:`observe` saw."""
        return self._evaluation_step(batch, self.validation_metrics)

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Add a batch to the test metrics; callbacks get what :meth:`observe` saw."""
        return self._evaluation_step(batch, self.test_metrics)

    def _evaluation_step(self, batch: Batch, metrics: MetricCollection) -> dict[str, Any]:
        observed = self.observe(self(batch), batch)
        metrics.update(**observed)
        self.log_dict(cast(Any, metrics), on_epoch=True, batch_size=observed["rows"])
        return observed

    def evaluate(self, batches: Iterable[Batch]) -> Evaluation:
        """Measure the present weights over batches, as :meth:`observations` runs them."""
        metrics = MetricCollection(cast(Any, alone(self.metrics()))).to(self.device)
        for _, observed in self.observations(batches):
            metrics.update(**observed)
        return Evaluation(metrics={name: float(value) for name, value in metrics.compute().items()})

    @torch.inference_mode()
    def observations(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, dict[str, Any]]]:
        """Yield each batch, on the module's device, and what :meth:`observe` sees of it in evaluation mode.

        The module is left in the mode in which it came.

        Raises:
            ValueError: there is no batch.
        """
        was_training, batch = self.training, None
        self.eval()
        try:
            for batch in batches:
                on_device = {name: value.to(self.device) for name, value in batch.items()}
                yield on_device, self.observe(self(on_device), on_device)
        finally:
            self.train(was_training)
        if batch is None:
            raise ValueError("there is nothing to evaluate: the data loader is empty")

    def to_onnx(self, *arguments: Any, **named: Any) -> NoReturn:
        """Say what to export instead: a task takes batches, and ONNX takes tensors.

        Raises:
            ConfigurationError: always.
        """
        raise ConfigurationError("export module.network, which takes input_ids and attention_mask, with torch.onnx")

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Measure the gradient once, then clip it if the trainer asks for that.

        Raises:
            ConfigurationError: the bound is negative, which would reverse the gradient, or is not a number.
        """
        if gradient_clip_val is not None and not 0 <= gradient_clip_val < float("inf"):
            raise ConfigurationError(
                f"trainer.gradient_clip_val is {gradient_clip_val}; it must be above 0; 0 and null switch clipping off"
            )
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
        """Build the optimiser and its schedule, whose length the configuration sets, not the steps that are left.

        Lightning's tuner writes the rate that it finds to ``hparams``, which checkpoints carry; this rate is taken.
        """
        rate = float(self.hparams["learning_rate"])
        if rate != self.config.learning_rate:
            self.config = replace(self.config, learning_rate=rate)
        rates = None if self.start is None else self.start.rates(self.network)
        optimizer = build_optimizer(self.config, self.network, rates)
        schedule = build_schedule(self.config, optimizer, self.total_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @property
    def total_steps(self) -> int:
        """Optimiser steps that the schedule spans.

        They are those of ``model.schedule_epochs``, the step budget, ``trainer.max_epochs`` or ``trainer.max_steps``:
        the first of these that is set.

        Raises:
            ConfigurationError: none of them is set.
        """
        accumulated = self.trainer.accumulate_grad_batches
        steps_per_epoch = steps_in_epoch(self._facts().steps_per_epoch, self._limit, accumulated)
        if self.config.schedule_epochs:
            return self.config.schedule_epochs * steps_per_epoch
        if self.step_budget is not None:
            return self.step_budget
        if self.trainer.max_epochs is not None and self.trainer.max_epochs > 0:
            return self.trainer.max_epochs * steps_per_epoch
        if self.trainer.max_steps > 0:
            return self.trainer.max_steps
        raise ConfigurationError("set model.schedule_epochs, trainer.max_epochs or trainer.max_steps")
