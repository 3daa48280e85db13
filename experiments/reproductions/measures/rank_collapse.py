"""T2: rank collapse of pure attention (Dong et al. 2021, arXiv:2103.03404)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from experiments.planning.names import reject_unknown
from experiments.reproductions.measurements import Row
from experiments.reproductions.measures.inputs import all_real, input_generator, model_config, normal_stream
from experiments.reproductions.setups import RankCollapse, Start
from lightning_modules.network.initialisation import initialise
from lightning_modules.network.parts import Function
from lightning_modules.network.sublayer import Sublayer, build_sublayer
from lightning_modules.probes.signal import rank_one_distance
from lightning_modules.schemes.place import Place, Role

ATTENTION, BOTH = (Role.ATTENTION,), (Role.ATTENTION, Role.FEED_FORWARD)


@dataclass(frozen=True)
class Stack:
    """Blocks of a variant that have some of their sublayers."""

    variant: str
    roles: tuple[Role, ...]


STACKS = {
    "attention": Stack("plain", ATTENTION),
    "attention_skip": Stack("no_norm", ATTENTION),
    "attention_norm": Stack("no_residual", ATTENTION),
    "attention_feed_forward": Stack("plain", BOTH),
    "post_ln": Stack("post_ln", BOTH),
    "pre_ln": Stack("pre_ln", BOTH),
}
"""Attention alone, with one part added, and the two usual blocks."""


def measure(setup: RankCollapse, seed: int) -> list[Row]:
    """Return the distance from rank one of a standard normal stream, before the first and after every block.

    All in float64: below about 1e-16 the distance is rounding.
    """
    blocks = max(setup.layers)
    found: list[Row] = []
    for start in setup.starts:
        x = normal_stream(setup.rows, setup.length, start.width, input_generator(seed))
        for name in setup.stacks:
            reject_unknown("setup.stacks", name, STACKS)
            distances = distances_by_block(build_stack(STACKS[name], start, blocks, seed), x)
            found += [
                {"start": start.name, "stack": name, "block": block, "rank_one_distance": distance}
                for block, distance in enumerate(distances)
            ]
    return found


@torch.no_grad()
def distances_by_block(blocks: Iterable[Iterable[Sublayer]], x: Tensor) -> list[float]:
    """Return ``‖X - 1·x̄ᵀ‖_F / ‖X‖_F`` of ``x`` ``(B, T, D)`` and after each block."""
    context = all_real(x)
    distances = [rank_one_distance(x, context.attention_mask).item()]
    for block in blocks:
        for sublayer in block:
            x = sublayer(x, context)
        distances.append(rank_one_distance(x, context.attention_mask).item())
    return distances


def build_stack(stack: Stack, start: Start, blocks: int, seed: int) -> list[list[Sublayer]]:
    """Build the sublayers of every block, float64; the global generator is left as it was."""
    config = model_config(start, stack.variant, blocks, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built = []
        for block in range(blocks):
            places = [
                Place(
                    width=config.width,
                    heads=config.heads,
                    index=2 * block + BOTH.index(role),
                    sublayers=2 * blocks,
                    role=role,
                )
                for role in stack.roles
            ]
            sublayers = [build_sublayer(config, place) for place in places]
            for sublayer in sublayers:
                initialise(cast(Function, sublayer.function), start.initialisation)
            built.append([sublayer.double() for sublayer in sublayers])
    return built
