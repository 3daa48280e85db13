"""The callbacks of a trainer, with a type."""

from __future__ import annotations

from typing import Any, cast

from lightning.pytorch import Callback, Trainer


def callbacks_of(trainer: Trainer) -> list[Callback]:
    """Return a trainer's callbacks, which a connector of Lightning sets without declaring them."""
    callbacks: list[Callback] = cast(Any, trainer).callbacks
    return callbacks
