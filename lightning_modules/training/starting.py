"""Starting from weights that were trained before: which are taken, which of them learn, and how fast."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from lightning_modules.errors import ConfigurationError
from lightning_modules.network.network import Network
from lightning_modules.network.sites import Norm, Site
from lightning_modules.network.sublayer import Residual

BACKBONE, POSITIONS, STEP = "backbone.", "backbone.embeddings.positions.", "backbone.step"
TABLE = "backbone.embeddings.table.weight"
NEUTRAL = {"gain": 1.0, "bias": 0.0}
"""Gain and bias with which a norm changes nothing after normalising, as most of them spell it."""


@dataclass(frozen=True, kw_only=True)
class TakenWeights:
    """What became of the weights that a network started from."""

    taken: int
    """Tensors that are the earlier network's."""
    fresh: tuple[str, ...]
    """Names of those that the earlier network lacks: they are as their own parts start them."""
    left_out: tuple[str, ...]
    """Names of those of the earlier network that this one has no place for."""


@dataclass(frozen=True, kw_only=True)
class WeightStart:
    """Weights to start from, and what of them is trained.

    Raises:
        ConfigurationError: at construction, if ``top_blocks`` or ``rate_per_block`` is out of range.
    """

    weights: Mapping[str, Tensor]
    """State of the earlier network, by name."""
    whole: bool = False
    """Whether the head is taken too."""
    top_blocks: int | None = None
    """Blocks that are trained, from the top, with the final norm and the head; 0 trains the head alone, None all."""
    rate_per_block: float = 1.0
    """Factor on the learning rate for each block further down (Howard & Ruder 2018, arXiv:1801.06146, section 3.2)."""
    surgery: bool = False
    """Whether norms and residuals may be others than those of the earlier network. What it lacks of theirs starts anew,
    and a norm of another kind takes over gain and bias. Its vocabulary may be the larger one."""

    origin: Mapping[str, Any] = field(default_factory=dict)
    """What a record says about the source of the weights, if they are not a run's."""

    def __post_init__(self) -> None:
        if self.top_blocks is not None and self.top_blocks < 0:
            raise ConfigurationError(f"start.train asks for {self.top_blocks} blocks; it cannot be negative")
        if not 0 < self.rate_per_block <= 1:
            raise ConfigurationError(f"start.rate_per_block is {self.rate_per_block}; it must be above 0 and at most 1")

    @torch.no_grad()
    def apply(self, network: Network) -> TakenWeights:
        """Put the weights into a fresh network, and freeze what is not to be trained.

        If the earlier network had more learned positions, the first ones are taken.

        Raises:
            ConfigurationError: a weight is missing, of another shape or not finite; the message names it.
        """
        own = network.state_dict()
        wanted = {name for name in own if name != STEP and (self.whole or name.startswith(BACKBONE))}
        free = {name for name in wanted if self.surgery and _is_of_the_scheme(network, name)}
        fresh = {name for name in free if not self._fits(network, name, own[name])}
        for name in sorted(wanted - fresh):
            given = self.weights.get(name)
            if given is None:
                raise ConfigurationError(f"the start has no weights {name}; it is of another scheme or shape")
            cut = name.startswith(POSITIONS) or (self.surgery and name == TABLE)
            if cut and given.shape[0] > own[name].shape[0]:
                given = given[: own[name].shape[0]]
            if given.shape != own[name].shape:
                there, here = (" × ".join(map(str, tensor.shape)) for tensor in (given, own[name]))
                raise ConfigurationError(f"the start's weights {name} are {there}, and this network's are {here}")
            if not torch.isfinite(given).all():
                raise ConfigurationError(f"the start's weights {name} are not all finite")
            if name in free:
                offset = own[name] - NEUTRAL[name.rpartition(".")[2]]
                given = given + offset if offset.any() else given  # a gain that starts at 0 means 1 + itself
            own[name].copy_(given)
        if self.top_blocks is not None:
            trained = {id(parameter) for parameter in self._trained(network, self.top_blocks)}
            for parameter in network.parameters():
                parameter.requires_grad_(id(parameter) in trained)
        left_out = self.weights.keys() - wanted if self.surgery else set()
        return TakenWeights(taken=len(wanted - fresh), fresh=tuple(sorted(fresh)), left_out=tuple(sorted(left_out)))

    def _fits(self, network: Network, name: str, own: Tensor) -> bool:
        """Tell whether the earlier network has a norm's gain or bias for this one's weight of the same name."""
        path, _, parameter = name.rpartition(".")
        given = self.weights.get(name)
        is_norm = isinstance(network.get_submodule(path), Norm) and parameter in NEUTRAL
        return is_norm and given is not None and given.shape == own.shape

    @staticmethod
    def _trained(network: Network, top_blocks: int) -> Iterator[nn.Parameter]:
        yield from network.head.parameters()
        yield from network.logits.parameters()
        blocks = list(network.blocks.children())
        if top_blocks > len(blocks):
            raise ConfigurationError(f"start.train asks for {top_blocks} blocks, and the network has {len(blocks)}")
        if top_blocks:
            yield from network.backbone.final.parameters()
        for block in blocks[len(blocks) - top_blocks :]:
            yield from block.parameters()

    def rates(self, network: Network) -> dict[int, float]:
        """Return the factor on the rate by the ``id`` of each parameter: 1 above the blocks, then less for each."""
        blocks = list(network.blocks.children())
        factors = {id(parameter): 1.0 for parameter in network.parameters()}
        parts = [network.backbone.embeddings, *blocks]
        for depth, part in enumerate(reversed(parts)):
            factors |= {id(parameter): self.rate_per_block**depth for parameter in part.parameters()}
        return factors


def _is_of_the_scheme(network: Network, name: str) -> bool:
    """Tell whether a weight is a residual's or an op's at a site, rather than one that every scheme has."""
    path = name.split(".")[:-1]
    parts = (network.get_submodule(".".join(path[:end])) for end in range(1, len(path) + 1))
    return any(isinstance(part, Site | Residual) for part in parts)


@dataclass(frozen=True, kw_only=True)
class WordStart:
    """Vectors of single words from which embeddings start."""

    ids: Tensor
    """``(n,)`` ids of the words."""
    values: Tensor
    """``(n, d)`` their vectors."""
    projected: bool = False
    """Whether d may differ from the width D of the network."""

    @torch.no_grad()
    def apply(self, network: Network, seed: int) -> None:
        """Put the vectors into the table of a fresh network.

        If d is not D, a map with orthonormal rows or columns, drawn from ``seed``, changes the width. A map to a
        greater width keeps all distances. A map to a smaller one scales by ``√(d / D)``, which keeps them on average.

        Raises:
            ConfigurationError: d differs from D, and that was not asked for.
        """
        table = cast(nn.Embedding, network.backbone.embeddings.table).weight
        width, given = table.shape[1], self.values.shape[1]
        values = self.values
        if width != given:
            if not self.projected:
                raise ConfigurationError(
                    f"the word vectors have {given} numbers, and model.width is {width}; set it to {given}, or "
                    "model.word_vectors_width to projected"
                )
            draws = torch.randn(max(width, given), min(width, given), generator=torch.Generator().manual_seed(seed))
            basis = torch.linalg.qr(draws)[0]  # (larger, smaller), orthonormal columns
            values = values @ (basis.T if width > given else basis * (given / width) ** 0.5)
        table[self.ids] = values.to(table.dtype)
