"""How fast training goes."""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_modules.tasks.base import TaskModule
from lightning_modules.training.processes import total


class Throughput(Callback):
    """Log ``throughput/tokens_per_second``: real tokens (no padding) per second of training.

    Loading a batch counts as training; validation, checkpoints and the start do not.

    Attributes:
        tokens: real tokens trained on.
        seconds: time spent training, in seconds.
    """

    def __init__(self) -> None:
        self.tokens = 0
        self.seconds = 0.0
        self._running_since: float | None = None
        self._last_log = (0, 0.0)

    def pause(self) -> None:
        """Stop the clock: what follows is not training."""
        if self._running_since is not None:
            self.seconds += time.perf_counter() - self._running_since
            self._running_since = None

    def resume(self) -> None:
        """Start the clock."""
        self._running_since = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self.resume()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock until the next training batch."""
        self.pause()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Go on after a validation and after the checkpoints that follow one."""
        if self._running_since is None:
            self.resume()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        self.pause()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count a batch; at logged steps, log the speed since the last one."""
        assert isinstance(pl_module, TaskModule)
        self.tokens += total(trainer, pl_module.tokens_in(batch))
        if pl_module.was_logged_step:
            self.pause()
            self.resume()
            tokens, seconds = self._last_log
            if self.seconds > seconds:
                pl_module.log("throughput/tokens_per_second", (self.tokens - tokens) / (self.seconds - seconds))
            self._last_log = (self.tokens, self.seconds)

    @property
    def tokens_per_second(self) -> float:
        """Real tokens per second over all of training; zero before it began."""
        return self.tokens / self.seconds if self.seconds else 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return the sums so far."""
        running = 0.0 if self._running_since is None else time.perf_counter() - self._running_since
        return {"tokens": self.tokens, "seconds": self.seconds + running}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the sums before the interruption."""
        self.tokens, self.seconds = state_dict["tokens"], state_dict["seconds"]
        self._last_log = (self.tokens, self.seconds)
