"""Dropout of a population: every member's masks come from the stream of its solo run."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightning_modules.network.dropout import Dropout, scaled_mask


class GivenDropout(nn.Module):
    """``y = x ⊙ mask``: dropout whose scaled mask is drawn outside the network and handed in as its buffer.

    A random draw inside ``vmap`` cannot have a stream for each member; this stands in the place of
    :class:`~lightning_modules.network.dropout.Dropout`.
    """

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x`` ``(B, T, D)`` to the same shape; half precision is promoted to the mask's float32."""
        return x * self.mask


def replace_dropout(network: nn.Module) -> dict[str, float]:
    """Put :class:`GivenDropout` in the place of every dropout; return probabilities by mask name, in drawing order.

    Modules are registered in the order in which they run, so that is the order in which a solo run draws.
    """
    places = {name: part for name, part in network.named_modules() if isinstance(part, Dropout)}
    for name in places:
        parent, _, attribute = name.rpartition(".")
        setattr(network.get_submodule(parent), attribute, GivenDropout())
    return {f"{name}.mask": part.probability for name, part in places.items() if part.probability > 0}


def draw_masks(
    probabilities: dict[str, float],
    seeds: Sequence[int],
    sizes: Sequence[tuple[int, int]],
    width: int,
    device: torch.device,
) -> dict[str, Tensor]:
    """Draw the masks ``(M, B, T, D)`` of one step by mask name; what they are where a batch was padded is no matter.

    On the CPU they are bit for bit those of the solo runs: same seed, same order, same shapes, and then padded. On
    other devices each member has a generator of its own with that seed: its masks are independent of the rest of the
    population and have the same distribution as a solo run's, but are not the same masks.

    Args:
        probabilities: of each dropout, in drawing order (:func:`replace_dropout`).
        seeds: every member's seed of this batch (``transformer.dropout.batch_seed``).
        sizes: rows and tokens per row of every member's own batch.
        width: D.
        device: where the network is.
    """
    if device.type == "cpu":
        return solo_masks(probabilities, seeds, sizes, width)
    return own_masks(probabilities, seeds, sizes, width, device)


def solo_masks(
    probabilities: dict[str, float], seeds: Sequence[int], sizes: Sequence[tuple[int, int]], width: int
) -> dict[str, Tensor]:
    """Draw the masks of solo runs on the CPU, one after the other as their networks would, and pad them with ones."""
    rows, length = common_size(sizes)
    masks = {name: torch.ones((len(seeds), rows, length, width)) for name in probabilities}
    for member, (seed, (b, t)) in enumerate(zip(seeds, sizes, strict=True)):
        generator = torch.Generator().manual_seed(seed)
        for name, probability in probabilities.items():
            masks[name][member, :b, :t] = scaled_mask(torch.Size((b, t, width)), probability, generator)
    return masks


def own_masks(
    probabilities: dict[str, float],
    seeds: Sequence[int],
    sizes: Sequence[tuple[int, int]],
    width: int,
    device: torch.device,
) -> dict[str, Tensor]:
    """Draw all uniform numbers of a member at once, in the size of its own batch, and make masks of them."""
    rows, length = common_size(sizes)
    uniform = torch.ones((len(seeds), len(probabilities), rows, length, width), device=device)
    for member, (seed, (b, t)) in enumerate(zip(seeds, sizes, strict=True)):
        generator = torch.Generator(device).manual_seed(seed)
        drawn = torch.rand((len(probabilities), b, t, width), generator=generator, device=device)
        uniform[member, :, :b, :t] = drawn
    return {
        name: (uniform[:, place] >= probability).float().div_(1 - probability)
        for place, (name, probability) in enumerate(probabilities.items())
    }


def common_size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return the most rows and the most tokens per row of any member."""
    return max(b for b, _ in sizes), max(t for _, t in sizes)
