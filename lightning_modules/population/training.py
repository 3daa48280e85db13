"""Training a population: the loop that Lightning runs for one model, for many members in step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_modules.config import ModelConfig
from lightning_modules.errors import ConfigurationError, reject_unknown
from lightning_modules.facts import TaskFacts
from lightning_modules.network.classifier_network import build_network
from lightning_modules.network.dropout import batch_seed
from lightning_modules.population.batch import Batch, stack_batches
from lightning_modules.population.members import DivergenceWatch, Member, Snapshot
from lightning_modules.population.network import PopulationNetwork, member_losses
from lightning_modules.population.optimizer import PopulationOptimizer
from lightning_modules.population.prediction import predict_members
from lightning_modules.population.requirements import PRECISIONS, refuse_unlike
from lightning_modules.training.evaluation import score
from lightning_modules.training.losses import build_evaluation_loss, build_training_loss


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How long and how the members train; the names are Lightning's."""

    max_epochs: int
    """Passes over the training rows."""

    gradient_clip_val: float | None = 1.0
    """Largest gradient norm of a member; null switches clipping off."""

    precision: str = "32-true"
    """``32-true`` or ``bf16-mixed``."""

    val_check_interval: float = 1.0
    """Share of an epoch between two validations."""

    log_every_n_steps: int = 10
    """Steps between two points of the training curves."""

    def __post_init__(self) -> None:
        reject_unknown("trainer.precision of a population", self.precision, PRECISIONS)


class PopulationTrainer:
    """Trains M members at once; each ends as its solo run would, to rounding.

    On the CPU a member sees the batches and dropout masks of its solo run; sums are taken in another order, so results
    agree to rounding and not to the bit. On other devices the dropout masks have the same distribution only.

    Args:
        configs: the members' configurations (:func:`~lightning_modules.population.requirements.refuse_unlike`).
        facts: of the text, the same for all members.
        settings: of the loop.
        device: where the population is trained.

    Raises:
        ConfigurationError: the members are no population, or one asks for what a population cannot do.
    """

    def __init__(
        self,
        configs: Sequence[ModelConfig],
        facts: TaskFacts,
        settings: LoopSettings,
        device: torch.device | str = "cpu",
    ) -> None:
        refuse_unlike(configs)
        self.configs, self.facts, self.settings = configs, facts, settings
        self.device = torch.device(device)
        sizes = {
            "vocabulary_size": facts.vocabulary_size,
            "number_of_classes": len(facts.class_names),
            "max_length": facts.max_length,
            "padding_id": facts.padding_id,
        }
        self.network = PopulationNetwork([build_network(config, **sizes) for config in configs], self.device)
        self.training_loss = build_training_loss(configs[0], facts.class_counts).to(self.device)
        self.evaluation_loss = build_evaluation_loss(configs[0])
        epochs = [config.schedule_epochs or settings.max_epochs for config in configs]
        self.optimizer = PopulationOptimizer(
            configs, self.network.weights, [count * facts.steps_per_epoch for count in epochs]
        )
        self.members = [Member(config) for config in configs]
        self.watch = DivergenceWatch(len(configs), self.device)
        self.step = 0

    def fit(
        self,
        epoch_batches: Callable[[int], Iterable[Sequence[Batch]]],
        validation_batches: Callable[[], Iterable[Batch]],
        after_step: Callable[[int], None] = lambda step: None,
    ) -> list[Member]:
        """Train to the end and return what every member leaves.

        Args:
            epoch_batches: yields, for an epoch counted from 0, one batch per member and step.
            validation_batches: yields the validation batches, the same for all members.
            after_step: called with the number of every step that was taken, counted from 1.

        Raises:
            ConfigurationError: an epoch has another number of batches than the facts say.
        """
        interval = max(1, int(self.facts.steps_per_epoch * self.settings.val_check_interval))
        for epoch in range(self.settings.max_epochs):
            index = -1
            for index, batches in enumerate(epoch_batches(epoch)):
                self._train(epoch, index, batches)
                after_step(self.step)
                if (index + 1) % interval == 0:
                    self._validate(epoch, validation_batches())
            if index + 1 != self.facts.steps_per_epoch:
                raise ConfigurationError(
                    f"epoch {epoch} has {index + 1} batches and the facts say {self.facts.steps_per_epoch}"
                )
            for member, active in zip(self.members, self.watch.active.tolist(), strict=True):
                member.epochs += active
            if not self.watch.active.any():
                break
        self._conclude()
        return self.members

    def _train(self, epoch: int, index: int, batches: Sequence[Batch]) -> None:
        batch = stack_batches(batches, self.facts.padding_id).to(self.device)
        seeds = [batch_seed(config.seed, epoch, index) for config in self.configs]
        with self._precision():
            losses = member_losses(self.training_loss, self.network.logits(batch, seeds), batch)
        weights = self.network.weights
        weights.differentiate(losses)
        norms, parts = weights.gradient_norms()
        self.step += 1
        was_active, rates = self.watch.active, self.optimizer.rates()
        self.watch.observe(self.step, losses.detach(), norms, batch.tokens)
        if self.settings.gradient_clip_val:
            weights.clip(norms, self.settings.gradient_clip_val)
        self.optimizer.step(self.watch.active)
        if self.step == 1 or self.step % self.settings.log_every_n_steps == 0:
            self._log(was_active, losses, norms, parts, rates)

    def _log(self, was_active: Tensor, losses: Tensor, norms: Tensor, parts: Tensor, rates: list[float]) -> None:
        """Add a point to the curves; as in a solo run, a step that diverges is measured by depth and not logged."""
        columns = (was_active, self.watch.active, self.watch.tokens, losses, norms, parts)  # read once: each waits
        rows = zip(self.members, rates, *(column.tolist() for column in columns), strict=True)
        for member, rate, was_training, is_training, tokens, loss, norm, by_depth in rows:
            if was_training:
                member.gradient_norms.keep(self.step, by_depth)
            if is_training:
                member.history.add_train_point(
                    step=self.step, tokens=tokens, loss=loss, learning_rate=rate, gradient_norm=norm
                )

    def _validate(self, epoch: int, batches: Iterable[Batch]) -> None:
        """Score the members that still train and keep the weights of those that never were better."""
        active, tokens = self.watch.active.tolist(), self.watch.tokens.tolist()
        if not any(active):
            return
        with self._precision():
            predictions = predict_members(self.network, batches, self.evaluation_loss)
        for index in [index for index, trains in enumerate(active) if trains]:
            member, scores = self.members[index], score(predictions[index], self.facts.class_names)
            member.history.add_validation_point(self.step, tokens[index], scores)
            if member.best is None or scores["macro_f1"] > member.best.macro_f1:
                weights = self.network.weights.state_of(index)
                member.best = Snapshot(weights, self.step, epoch, scores["macro_f1"])

    def _conclude(self) -> None:
        reasons, steps, tokens = self.watch.reasons(), self.watch.steps.tolist(), self.watch.tokens.tolist()
        for index, member in enumerate(self.members):
            member.reason, member.steps, member.history.tokens = reasons[index], steps[index], tokens[index]
            member.last = self.network.weights.state_of(index)

    def _precision(self) -> AbstractContextManager[None]:
        if self.settings.precision == "32-true":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)
