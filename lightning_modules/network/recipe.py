"""Recipes: what a paper prescribes for a network's start and training, apart from its forward pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from lightning_modules.network.backbone import Backbone


class Recipe:
    """Prescribes nothing; a subclass overrides what its paper asks for.

    ``head`` is what reads the backbone, an ``nn.Identity`` where nothing does. All methods run without gradients.
    """

    def initialise(self, backbone: Backbone, head: nn.Module) -> None:
        """Change the initial weights, after the configured initialisation has drawn them."""

    def prepare(self, backbone: Backbone, input_ids: Tensor, attention_mask: Tensor) -> None:
        """Look at the first training batch ``(B, T)``, before the first step of a new run, without dropout."""

    def factors(self, name: str, parameter: nn.Parameter, backbone: Backbone) -> Mapping[str, float]:
        """Return factors on ``lr``, ``eps`` and ``weight_decay`` of a parameter; one that is left out is 1."""
        return {}

    def after_step(self, backbone: Backbone, head: nn.Module) -> None:
        """Change the weights after an optimiser step."""
