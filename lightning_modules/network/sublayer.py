"""A sublayer: a function of a block, its sites, and the residual that joins it to the stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from lightning_modules.config import ModelConfig
from lightning_modules.network.attention import SelfAttention
from lightning_modules.network.context import Context
from lightning_modules.network.dropout import Dropout
from lightning_modules.network.feed_forward import FeedForward
from lightning_modules.network.parts import attention, feed_forward, own_draws, residual
from lightning_modules.network.sites import build_site
from lightning_modules.schemes.place import Place, Role
from lightning_modules.schemes.variants import INPUT, OUTPUT, POST, SKIP, Variant

attention("softmax")(SelfAttention)
feed_forward("two_layers")(FeedForward)


@residual("identity")
class Residual(nn.Module):
    """The residual connection: ``x ← post(skip(x) + F(x))`` (He et al. 2015, arXiv:1512.03385).

    Base of all schemes. They override :meth:`forward`, and also :meth:`open` and :meth:`close` if they keep more than
    the stream. There is one residual per sublayer; the first opens the stream and the last closes it. The state has one
    form at every depth. As ``open`` and ``close`` work at every place, a block can be looked at alone.

    Of a scheme's own parameters, weight decay touches the weights of ``nn.Linear`` alone. In :meth:`forward` a scheme
    reads no number of its place, since ``torch.compile`` would then translate every block anew.

    Attributes:
        skips: skip connections around the sublayer, which tables print.
        state_grows: whether the state holds more tensors the deeper it is. ``torch.compile`` then translates every
            block anew, and gives up after ``torch._dynamo.config.recompile_limit`` of them.
    """

    skips = 1
    state_grows = False

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place

    def meet(self, earlier: Sequence[Residual]) -> None:
        """Share parameters with the schemes of the block's earlier sublayers, if the paper has one for all."""

    def open(self, x: Tensor) -> Any:
        """Start the stream from the embeddings ``(B, T, D)``; deeper in the network ``x`` takes their place."""
        return x

    def forward(self, state: Any, branch: Branch) -> Any:
        """Take up what ``branch`` computes and return the new state."""
        return branch.post(branch.skip(state) + branch(state))

    def close(self, state: Any, final: Callable[[Tensor], Tensor]) -> Tensor:
        """Return what the head sees, ``(B, T, D)``; ``final`` is applied where the paper has its last norm."""
        return final(state)

    def extra_repr(self) -> str:
        """Show the place where the module is printed."""
        return f"{self.place.role} {self.place.index + 1} of {self.place.sublayers}"


@dataclass(frozen=True, slots=True)
class Branch:
    """One pass through a sublayer, as the formula of a residual sees it: ``branch(x)`` is F(x)."""

    sublayer: Sublayer
    context: Context

    def __call__(self, x: Tensor) -> Tensor:
        """Return ``output(F(input(x)))`` after dropout, ``(B, T, D)``."""
        return self.function(self.input(x))

    def input(self, x: Tensor) -> Tensor:
        """Return what F sees of ``x``, for schemes that use it twice."""
        return self.sublayer.input(x, self.context)

    def function(self, x: Any) -> Tensor:
        """Return ``output(F(x))`` after dropout, without the input site."""
        sublayer = self.sublayer
        return sublayer.dropout(sublayer.output(sublayer.function(x, self.context), self.context))

    def skip(self, x: Tensor) -> Tensor:
        """Return the part of the stream ``x`` that is kept."""
        return self.sublayer.skip(x, self.context)

    def post(self, x: Tensor) -> Tensor:
        """Return what follows the addition."""
        return self.sublayer.post(x, self.context)


class Sublayer(nn.Module):
    """One function of a block with its sites and its residual.

    ::

        state ─┬─► input ──► function ──► output ──► dropout ──►(+)──► post ──► state
               └─► skip ─────────────────────────────────────────┘

    Dropout falls on the sublayer's output (arXiv:1706.03762, section 5.4). On hidden units or attention probabilities
    it would cost a third of a CPU training step.
    """

    def __init__(self, scheme: Residual, function: nn.Module, variant: Variant, place: Place, dropout: float) -> None:
        super().__init__()
        self.place = place
        self.residual = scheme
        self.input = build_site(variant, INPUT, place.width, place)
        self.function = function
        self.output = build_site(variant, OUTPUT, place.width, place)
        self.dropout = Dropout(dropout)
        self.skip = build_site(variant, SKIP, place.width, place)
        self.post = build_site(variant, POST, place.width, place)

    def forward(self, state: Any, context: Context) -> Any:
        """Return the stream's state after this sublayer."""
        return self.residual(state, Branch(self, context))


class Side(nn.Module):
    """One function of a parallel sublayer with the sites that it has for itself, such as ``attention.input``."""

    def __init__(self, function: nn.Module, variant: Variant, place: Place) -> None:
        super().__init__()
        self.input = build_site(variant, f"{place.role}.{INPUT}", place.width, place)
        self.function = function
        self.output = build_site(variant, f"{place.role}.{OUTPUT}", place.width, place)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Map ``(B, T, D)`` to ``(B, T, D)``."""
        return self.output(self.function(self.input(x, context), context), context)


class Parallel(nn.Module):
    """Attention and feed-forward network side by side: ``Attention(x) + FeedForward(x)``.

    Wang & Komatsuzaki 2021 (GPT-J); Chowdhery et al. 2022, arXiv:2204.02311, section 2. The sites ``input`` and
    ``output`` belong to the sum; each function also has its own, such as ``attention.input``.
    """

    def __init__(self, attention: Side, feed_forward: Side) -> None:
        super().__init__()
        self.attention = attention
        self.feed_forward = feed_forward

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Map ``(B, T, D)`` to ``(B, T, D)``."""
        return self.attention(x, context) + self.feed_forward(x, context)


def build_function(config: ModelConfig, variant: Variant, place: Place) -> nn.Module:
    """Build the function F of a sublayer: attention, feed-forward network, or their sum."""
    match place.role:
        case Role.PARALLEL:
            places = (replace(place, role=role) for role in (Role.ATTENTION, Role.FEED_FORWARD))
            return Parallel(*(Side(build_function(config, variant, own), variant, own) for own in places))
        case Role.ATTENTION:
            return attention.find(variant.attention)(variant, place)
        case _:
            return feed_forward.find(variant.feed_forward)(
                variant,
                place,
                hidden_width=config.hidden_width,
                activation=config.activation,
            )


def build_sublayer(config: ModelConfig, place: Place) -> Sublayer:
    """Build one sublayer of the configured variant at its place in the network."""
    variant = config.scheme.at(place)
    with own_draws(place):
        scheme = residual.find(variant.residual)(place)
    return Sublayer(scheme, build_function(config, variant, place), variant, place, config.dropout)
