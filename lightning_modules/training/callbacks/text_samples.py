"""Samples of what a language model writes, as text in TensorBoard."""

from __future__ import annotations

from typing import Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn

from lightning_modules.network.generation import Sampling, continued
from lightning_modules.tasks.base import TaskModule
from lightning_modules.training.callbacks.attached import steps_of_fit

SAMPLES, TOKENS, TEMPERATURE = 2, 40, 0.8
TIMES = 10
"""How often a fit writes at most: TensorBoard shows as many texts of a tag."""


class TextSamples(Callback):
    """Write ``text/samples`` for every TensorBoard logger, after at most ``TIMES`` validations of a fit.

    Each sample begins a document. Its draws come from generators of their own, so no number of the training depends on
    them. Of several processes none writes.
    """

    def __init__(self) -> None:
        self._tenths = 0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin with nothing written."""
        self._tenths = 0

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write samples, if a tenth of the fit's steps has gone by since the last ones."""
        loggers = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
        datamodule = cast(Any, trainer).datamodule
        if trainer.world_size > 1 or trainer.state.fn != TrainerFn.FITTING or not loggers or datamodule is None:
            return
        before, self._tenths = self._tenths, int(trainer.global_step * TIMES / steps_of_fit(trainer, pl_module))
        if self._tenths <= before:
            return
        assert isinstance(pl_module, TaskModule)
        text = "\n\n---\n\n".join(self.sample(pl_module, datamodule.tokenizer, seed) for seed in range(SAMPLES))
        for logger in loggers:
            logger.experiment.add_text("text/samples", text, global_step=trainer.global_step)

    def sample(self, module: TaskModule, tokenizer: Any, seed: int) -> str:
        """Return a text that the module begins and writes; Markdown shows it as it is."""
        facts = module.facts
        assert facts is not None and facts.end_id is not None, "a language model has a token that ends a document"
        count, sampling = min(TOKENS, facts.max_length - 1), Sampling(temperature=TEMPERATURE, seed=seed)
        forbidden = set(facts.special_ids) - {facts.end_id}
        ids = list(continued(module.network, [facts.end_id], count, sampling, forbidden=forbidden))
        return "    " + tokenizer.decode(ids).replace("\n", "\n    ")
