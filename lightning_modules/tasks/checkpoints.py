"""What a task's checkpoint holds, and what is refused when it is read."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Self

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from lightning_modules.errors import ConfigurationError, SpoiltWeights, shortened
from lightning_modules.facts import TaskFacts

SAME_FACTS = ("vocabulary_size", "class_names", "padding_id", "max_length", "tokenizer_sha256")
"""Facts on which the meaning of a network's weights rests."""
DIGEST = "tensors_sha256"
"""Key of a checkpoint under which :func:`tensors_digest` is kept."""


class CheckpointedModule(LightningModule, ABC):
    """A module whose checkpoints carry settings, facts and weights, and load without data and without code.

    Attributes:
        facts: what is known of the text; None until the network is built.
        network: the network, from then on.
    """

    network: nn.Module

    def __init__(self) -> None:
        super().__init__()
        self.facts: TaskFacts | None = None
        self._waiting: dict[str, Tensor] = {}

    @abstractmethod
    def build(self, facts: Any) -> None:
        """Build the network for a text with these facts."""

    @property
    @abstractmethod
    def total_steps(self) -> int:
        """Optimiser steps that the schedule spans."""

    def _is_fitting(self) -> bool:
        try:
            return self.trainer.state.fn == TrainerFn.FITTING
        except RuntimeError:  # there is no trainer
            return False

    def load_waiting(self) -> None:
        """Give the network, once it is built, the weights that were loaded before."""
        if self._waiting:
            weights, self._waiting = self._waiting, {}
            self.network.load_state_dict({name.removeprefix("network."): value for name, value in weights.items()})

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Take up weights, now or as soon as the network is built.

        Processes that Lightning spawned or forked build the network and send its weights to the first process. The
        module there has no weights, and Lightning would silently drop all of these.
        """
        if self.facts is None:
            self._waiting = {name: value for name, value in state_dict.items() if name.startswith("network.")}
            return super().load_state_dict({}, strict=False)
        return super().load_state_dict(state_dict, strict=strict, assign=assign)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the facts, so that it loads without data, and the length of the schedule and a digest of all numbers."""
        if self.facts is not None:
            checkpoint["facts"] = self.facts.as_dict()
        if self._is_fitting():
            checkpoint["schedule_steps"] = self.total_steps
        checkpoint[DIGEST] = tensors_digest(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint (``ckpt_path``) that a trainer cannot rightly evaluate or go on from.

        Raises:
            SpoiltWeights: a number is not finite, or not the one that was saved.
            ConfigurationError: it was made with another tokenizer or other classes; or training goes on, and it was
                made on another text or with a schedule of another length.
        """
        refuse_spoilt(checkpoint)
        if self.facts is None:
            return
        goes_on = self._is_fitting()
        found, saved = self.facts.as_dict(), checkpoint.get("facts") or {}
        for name in found if goes_on else SAME_FACTS:
            before, now = saved.get(name), found[name]
            before = tuple(before) if isinstance(before, list) else before
            if before and now and before != now:
                raise ConfigurationError(
                    f"the checkpoint was made on another text: its {name} was {shortened(str(before))} and is now "
                    f"{shortened(str(now))}"
                )
        steps = checkpoint.get("schedule_steps")
        if goes_on and steps is not None and steps != self.total_steps:
            raise ConfigurationError(
                f"the checkpoint's schedule spans {steps} steps and this fit's {self.total_steps}; set "
                "model.schedule_epochs alike in both, or train anew"
            )

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
            weights_only: only tensors and plain values are unpickled, whatever this says.
            settings: fields of :class:`ModelConfig` to take instead of the checkpoint's.

        Raises:
            ConfigurationError: the file is damaged or is no checkpoint of this task, or ``hparams_file`` is given.
            SpoiltWeights: a weight is not finite, or not the one that was saved.
        """
        if hparams_file is not None:
            raise ConfigurationError("a checkpoint holds its settings; give others by name instead of hparams_file")
        try:
            checkpoint = torch.load(checkpoint_path, map_location=map_location or "cpu", weights_only=True)
            weights = checkpoint["state_dict"]
            refuse_spoilt(checkpoint)
            module = cls(**{**checkpoint[cls.CHECKPOINT_HYPER_PARAMS_KEY], **settings})
            module.build(TaskFacts(**checkpoint["facts"]))
            module.load_state_dict(weights, strict=strict is not False)
            module.to(next(iter(weights.values())).device)
        except FileNotFoundError:
            raise
        except SpoiltWeights as error:
            raise SpoiltWeights(f"{checkpoint_path}: {error}") from None
        except Exception as error:
            raise ConfigurationError(
                f"{checkpoint_path} is not a readable checkpoint of a {cls.__name__}: {error}"
            ) from error
        return module.eval()


def refuse_spoilt(checkpoint: Mapping[str, Any]) -> None:
    """Refuse weights, or states of an optimiser, that are not finite or are not those that were saved.

    Args:
        checkpoint: with ``state_dict`` and, if training may go on, ``optimizer_states``. Older checkpoints hold no
            digest and are believed.

    Raises:
        SpoiltWeights: naming the first tensor that is not finite, or saying that some number changed.
    """
    for place, tensor in _tensors(checkpoint):
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise SpoiltWeights(f"{place} holds numbers that are not finite, so the network would answer nonsense")
    if checkpoint.get(DIGEST) not in (None, tensors_digest(checkpoint)):
        raise SpoiltWeights("its numbers are not those that were saved, so it was damaged or edited")


def tensors_digest(checkpoint: Mapping[str, Any]) -> str | None:
    """Return the SHA-256 of a checkpoint's weights and optimiser states; None if it holds parts of tensors."""
    found = hashlib.sha256()
    for place, tensor in _tensors(checkpoint):
        if isinstance(tensor, DTensor):
            return None
        found.update(f"{place} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()


def _tensors(checkpoint: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor of the weights and of the optimiser, with its place such as ``state_dict.network.…``."""
    waiting: list[tuple[str, Any]] = [(part, checkpoint.get(part)) for part in ("optimizer_states", "state_dict")]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, Tensor):
            yield place, value
        elif isinstance(value, Mapping):
            waiting += [(f"{place}.{name}", item) for name, item in reversed(list(value.items()))]
        elif isinstance(value, list | tuple):
            waiting += [(f"{place}.{number}", value[number]) for number in reversed(range(len(value)))]
