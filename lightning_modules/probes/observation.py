"""Looking into a network's forward pass through hooks, which are removed afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from lightning_modules.network.attention import SelfAttention
from lightning_modules.network.block import unchanged
from lightning_modules.network.feed_forward import FeedForward
from lightning_modules.network.network import Network
from lightning_modules.network.sublayer import Sublayer


@dataclass
class SublayerObservation:
    """What a sublayer read, computed and wrote in the latest forward pass; tensors stay in autograd's graph."""

    sublayer: Sublayer
    before: Any = None
    """State of the residual stream before the sublayer."""
    after: Any = None
    """State after the sublayer."""
    update: Tensor | None = None
    """``(B, T, D)``, its output as the residual takes it up."""
    kept: Tensor | None = None
    """``(B, T, D)``, the part of the stream that is added to the update; None if the scheme has no plain skip."""
    query: Tensor | None = None
    """``(B, H, T, d_h)``, after the site ``query``; None if the sublayer has no attention."""
    key: Tensor | None = None
    """``(B, H, T, d_h)``, after the site ``key``."""
    preactivation: Tensor | None = None
    """``(B, T, H)``, input of the activation; None if the sublayer has no feed-forward network."""

    def stream_before(self) -> Tensor:
        """Return the stream that the sublayer read, ``(B, T, D)``, closed as it would be for the head."""
        return self.sublayer.residual.close(self.before, unchanged)

    def stream_after(self) -> Tensor:
        """Return the stream that the sublayer wrote, ``(B, T, D)``, closed as it would be for the head."""
        return self.sublayer.residual.close(self.after, unchanged)


@dataclass
class Observation:
    """What the latest forward pass of a network did, from the embeddings upwards."""

    blocks: list[list[SublayerObservation]] = field(default_factory=list)
    """The sublayers of every block, in order."""
    embedded: Tensor | None = None
    """``(B, T, D)``, the embeddings that open the stream."""

    def states(self) -> list[Any]:
        """Return the embeddings and the stream's state after every block, as the scheme keeps it."""
        return [self.embedded, *(block[-1].after for block in self.blocks)]

    def streams(self) -> list[Tensor]:
        """Return the embeddings and the stream after every block, each ``(B, T, D)``."""
        assert self.embedded is not None, "the network has not run yet"
        return [self.embedded, *(block[-1].stream_after() for block in self.blocks)]


@contextmanager
def observed(network: Network) -> Iterator[Observation]:
    """Note what ``network`` does in forward passes within the context; outside it, the network has no hooks.

    ::

        with observed(network) as observation:
            network(input_ids, attention_mask)
        observation.streams()  # (B, T, D) at every depth
    """
    observation = Observation()
    with ExitStack() as stack:

        def note_embedding(module: nn.Module, arguments: Any, output: Tensor) -> None:
            observation.embedded = output

        stack.enter_context(network.backbone.embeddings.register_forward_hook(note_embedding))
        for block in network.blocks.children():
            sublayers = [module for module in block.modules() if isinstance(module, Sublayer)]
            observation.blocks.append([_observe(sublayer, stack) for sublayer in sublayers])
        yield observation


def _observe(sublayer: Sublayer, stack: ExitStack) -> SublayerObservation:
    """Hook one sublayer until ``stack`` closes and return what its next forward passes fill in."""
    seen = SublayerObservation(sublayer)

    def note_states(module: nn.Module, arguments: Sequence[Any], output: Any) -> None:
        seen.before, seen.after = arguments[0], output

    def note_output(name: str) -> Any:
        return lambda module, arguments, output: setattr(seen, name, output)

    def note_input(name: str) -> Any:
        return lambda module, arguments, output: setattr(seen, name, arguments[0])

    stack.enter_context(sublayer.register_forward_hook(note_states))
    stack.enter_context(sublayer.dropout.register_forward_hook(note_output("update")))
    stack.enter_context(sublayer.skip.register_forward_hook(note_output("kept")))
    for part in sublayer.function.modules():
        if isinstance(part, SelfAttention):
            stack.enter_context(part.query.register_forward_hook(note_output("query")))
            stack.enter_context(part.key.register_forward_hook(note_output("key")))
        elif isinstance(part, FeedForward):
            stack.enter_context(part.activation.register_forward_hook(note_input("preactivation")))
    return seen


def tensors_of(state: Any) -> list[Tensor]:
    """Return the tensors that a stream's state is made of, however the scheme keeps them."""
    if isinstance(state, Tensor):
        return [state]
    if isinstance(state, Mapping):
        return tensors_of(list(state.values()))
    if isinstance(state, Sequence):
        return [tensor for part in state for tensor in tensors_of(part)]
    return tensors_of(vars(state)) if hasattr(state, "__dict__") else []
