"""The parts that variants are made of, by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from lightning_modules.errors import ConfigurationError, reject_unknown
from lightning_modules.schemes.families import load_families
from lightning_modules.schemes.place import Place
from lightning_modules.schemes.variants import Part, Use

AnyPart = TypeVar("AnyPart", bound=Callable[..., Any])


class Parts(dict[str, Callable[..., Any]]):
    """Parts of one kind, by the name that a variant uses. As a decorator it adds one::

    @op("rms_norm")
    class RmsNorm(Norm): ...
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def __call__(self, name: str) -> Callable[[AnyPart], AnyPart]:
        """Return a decorator that adds a part under ``name``.

        Raises:
            ConfigurationError: another part of this kind has the name.
        """

        def add(part: AnyPart) -> AnyPart:
            if name in self:
                raise ConfigurationError(f"the {self.kind} {name!r} is there already; choose another name")
            self[name] = part
            return part

        return add

    def find(self, part: Part) -> Callable[..., Any]:
        """Return the part that a variant names, or the class that it holds itself.

        Raises:
            ConfigurationError: no part has the name.
        """
        if isinstance(part, Use):
            return partial(self.find(part.name), **dict(part.options))
        if not isinstance(part, str):
            return part
        if part not in self:
            load_families()
        reject_unknown(self.kind, part, self)
        return self[part]


op = Parts("op")
"""Modules at sites, built as ``op(width, place)`` from the features there and the :class:`Place`. Any module that maps
``(..., width)`` to the same shape will do; one with ``uses_context = True`` is called with the context too."""

residual = Parts("residual")
"""Residual schemes, built as ``residual(place)``: subclasses of ``network.sublayer.Residual``."""

attention = Parts("attention")
"""Attention functions, ``attention(variant, place)``: subclasses of ``network.attention.SelfAttention``."""

feed_forward = Parts("feed_forward")
"""Feed-forward functions, ``feed_forward(variant, place, hidden_width=…, activation=…)``."""

recipe = Parts("recipe")
"""Recipes, ``recipe()``: subclasses of ``network.backbone.Recipe``."""


class Function(nn.Module, ABC):
    """Base of what a sublayer computes: attention or feed-forward network, ``forward(x, context)``."""

    @abstractmethod
    def matrices(self) -> dict[str, Tensor]:
        """Return the weight matrices by name, in drawing order; parts of a fused matrix are views."""


@contextmanager
def own_draws(place: Place) -> Iterator[None]:
    """Let a scheme's parts draw from a generator of their own, so that F starts alike under every scheme.

    Its seed is made from the seed of that generator, the place and the site.
    """
    generator = torch.default_generator
    state, entropy = generator.get_state(), (generator.initial_seed(), place.index, *place.site.encode())
    generator.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]))
    try:
        yield
    finally:
        generator.set_state(state)


def linear(inputs: int, outputs: int, bias: bool) -> nn.Linear:
    """Return a linear map; with or without a bias it draws as many random numbers, so that later parts start alike."""
    layer = nn.Linear(inputs, outputs)
    if not bias:
        layer.register_parameter("bias", None)
    return layer
