"""Removing parts of a trained network: single weights, attention heads, hidden units, whole blocks.

Parts are chosen by the magnitude of their weights or, for blocks, by the caller. Pruned weights become zero in place.
Heads, units and blocks are taken out, so that the network becomes smaller and faster.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from copy import deepcopy
from typing import TypeVar, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from lightning_modules.errors import ConfigurationError
from lightning_modules.network.attention import SelfAttention
from lightning_modules.network.block import BlockStack, NoBlocks
from lightning_modules.network.feed_forward import FeedForward
from lightning_modules.network.network import Network
from lightning_modules.tasks.base import TaskModule

FunctionT = TypeVar("FunctionT", bound=nn.Module)
Masks = dict[str, Tensor]
"""Weights that stay, True, by the name of their parameter."""


def check_share(share: float) -> None:
    """Refuse a number that is not a share.

    Raises:
        ConfigurationError: it is not in [0, 1).
    """
    if not 0 <= share < 1:
        raise ConfigurationError(f"the share to remove is {share:g}; it must be at least 0 and below 1")


def block_matrices(network: Network) -> dict[str, nn.Parameter]:
    """Return the weight matrices of the functions of all blocks by name."""
    linear = {name for name, module in network.blocks.named_modules() if isinstance(module, nn.Linear)}
    return {name: parameter for name, parameter in network.blocks.named_parameters()
            if name.rpartition(".")[0] in linear and parameter.dim() == 2}  # fmt: skip


@torch.no_grad()
def prune_weights(network: Network, share: float) -> Masks:
    """Set the smallest weights of all blocks' matrices to zero, and return which stay.

    The matrices are compared as one (Han et al. 2015, arXiv:1506.02626, section 3, with one threshold for all layers).

    Args:
        network: it is changed.
        share: of the matrices' weights that go.

    Raises:
        ConfigurationError: the share is out of range.
    """
    check_share(share)
    matrices = block_matrices(network)
    sizes = torch.cat([matrix.abs().flatten() for matrix in matrices.values()]) if matrices else torch.empty(0)
    going = int(share * len(sizes))
    if not going:
        return {name: torch.ones_like(matrix, dtype=torch.bool) for name, matrix in matrices.items()}
    stays = torch.ones(len(sizes), dtype=torch.bool)
    stays[sizes.cpu().argsort(stable=True)[:going]] = False
    parts = stays.split([matrix.numel() for matrix in matrices.values()])
    masks = {}
    for (name, matrix), part in zip(matrices.items(), parts, strict=True):
        masks[name] = part.view(matrix.shape).to(matrix.device)
        matrix.mul_(masks[name])
    return masks


class KeptZeros(Callback):
    """Keeps pruned weights at zero while a network is trained further.

    Args:
        masks: what stays, as :func:`prune_weights` returned it.
    """

    def __init__(self, masks: Masks) -> None:
        self.masks = masks

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *arguments: object) -> None:
        """Set pruned weights that an optimiser step moved back to zero."""
        parameters = dict(cast(TaskModule, pl_module).network.blocks.named_parameters())
        for name, mask in self.masks.items():
            parameters[name].mul_(mask.to(parameters[name].device))


@torch.no_grad()
def prune_heads(network: Network, share: float) -> int:
    """Remove the same number of attention heads from every block, and return it; at least one stays.

    A head's size is ‖its rows of the value matrix‖ · ‖its columns of the output matrix‖, both Frobenius norms.

    Raises:
        ConfigurationError: the share is out of range, or the scheme's attention has more than matrices, so that a head
            cannot be taken out alone.
    """
    check_share(share)
    going = 0
    for attention in functions_of(network, SelfAttention):
        if type(attention) is not SelfAttention or len(attention.heads) or len(attention.inner):
            raise ConfigurationError(f"heads of variant {network.backbone.variant.name} depend on each other")
        output_map = cast(nn.Linear, attention.output)
        heads, width = attention.number_of_heads, output_map.in_features
        going = min(heads - 1, int(share * heads))
        value = attention.query_key_value.weight.chunk(3)[2].view(heads, width // heads, -1)
        output = output_map.weight.view(-1, heads, width // heads)
        size = value.norm(dim=(1, 2)) * output.norm(dim=(0, 2))
        kept = size.argsort(descending=True, stable=True)[: heads - going].sort().values
        rows = torch.arange(width, device=kept.device).view(heads, -1)[kept].flatten()
        keep_rows(attention.query_key_value, torch.cat([rows + part * width for part in range(3)]))
        keep_columns(output_map, rows)
        attention.number_of_heads = len(kept)
    return going


@torch.no_grad()
def prune_units(network: Network, share: float) -> int:
    """Remove the same number of hidden units from every feed-forward network, and return it; at least one stays.

    A unit's size is ‖its rows of the first matrix‖ · ‖its column of the second‖; with a gate it has two rows.

    Raises:
        ConfigurationError: the share is out of range, or an op of the scheme looks at all units at once.
    """
    check_share(share)
    going = 0
    for function in functions_of(network, FeedForward):
        if type(function) is not FeedForward or len(function.before_activation) or len(function.inner):
            raise ConfigurationError(f"hidden units of variant {network.backbone.variant.name} depend on each other")
        units, parts = function.output.in_features, len(function.names)
        going = min(units - 1, int(share * units))
        first = function.hidden.weight.view(parts, units, -1).norm(dim=(0, 2))
        kept = (first * function.output.weight.norm(dim=0)).argsort(descending=True, stable=True)[: units - going]
        kept = kept.sort().values
        keep_rows(function.hidden, torch.cat([kept + part * units for part in range(parts)]))
        keep_columns(function.output, kept)
    return going


def without_blocks(network: Network, going: Collection[int], *, rescale: bool = False) -> Network:
    """Return a copy of a network without some of its blocks.

    Args:
        network: it is left alone.
        going: blocks to remove, from 0.
        rescale: whether what each function of the others adds is multiplied by L/(L − k), k of L blocks going. Without
            it the sum of the branches has fewer terms than the final norm and the head were trained with.

    Raises:
        ConfigurationError: there is no such block.
    """
    unknown = sorted(set(going) - set(range(blocks_in(network))))
    if unknown:
        raise ConfigurationError(f"there is no block {unknown[0]}: the network has {blocks_in(network)}")
    copy = deepcopy(network)
    blocks = list(copy.blocks.children())
    kept = [block for index, block in enumerate(blocks) if index not in going]
    if not kept:
        copy.backbone.blocks = NoBlocks()
        return copy
    copy.backbone.blocks = BlockStack(kept)
    if rescale and len(kept) < len(blocks):
        with torch.no_grad():
            for _, function in copy.backbone.functions():
                for parameter in function.get_submodule("output").parameters():
                    parameter.mul_(len(blocks) / len(kept))
    return copy


def blocks_in(network: Network) -> int:
    """Count the blocks of a network."""
    return len(list(network.blocks.children()))


def importance_of_blocks(network: Network, loss: Callable[[Network], float]) -> list[float]:
    """Return for each block by how much the loss rises when it alone is removed.

    Args:
        network: it is left alone.
        loss: measures a network, on rows that are not those of the test.
    """
    whole = loss(network)
    return [loss(without_blocks(network, {index})) - whole for index in range(blocks_in(network))]


def functions_of(network: Network, kind: type[FunctionT]) -> Iterator[FunctionT]:
    """Yield the functions of one kind, in order."""
    return (function for _, function in network.backbone.functions() if isinstance(function, kind))


def keep_rows(layer: nn.Linear, rows: Tensor) -> None:
    """Leave these outputs of a linear map alone, in their order."""
    layer.weight = nn.Parameter(layer.weight[rows].clone())
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias[rows].clone())
    layer.out_features = len(rows)


def keep_columns(layer: nn.Linear, columns: Tensor) -> None:
    """Leave these inputs of a linear map alone, in their order."""
    layer.weight = nn.Parameter(layer.weight[:, columns].clone())
    layer.in_features = len(columns)
