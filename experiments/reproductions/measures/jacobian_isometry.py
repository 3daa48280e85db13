"""T4a: a ReZero network is an isometry at initialisation (Bachlechner et al. 2020, arXiv:2003.04887)."""

from __future__ import annotations

import torch
from torch import Tensor

from experiments.reproductions.measurements import Row
from experiments.reproductions.measures.inputs import all_real, input_generator, model_config, normal_stream
from experiments.reproductions.setups import JacobianIsometry
from lightning_modules.network.block import BlockStack, NoBlocks
from lightning_modules.network.network import build_network
from lightning_modules.probes.jacobian import jacobian_singular_values

QUANTILES = {"smallest": 0.0, "lower_decile": 0.1, "median": 0.5, "upper_decile": 0.9, "largest": 1.0}


def measure(setup: JacobianIsometry, seed: int) -> list[Row]:
    """Return quantiles of the singular values of the stack's Jacobian, and the largest distance of one from 1.

    The Jacobian is that of L blocks at a standard normal stream of one row, T·D × T·D, exact and in float64; with
    L = 1 it is a block's.
    """
    x = normal_stream(setup.rows, setup.length, setup.start.width, input_generator(seed))
    found: list[Row] = []
    for variant in setup.variants:
        for layers in setup.layers:
            config = model_config(setup.start, variant, layers, seed)
            built = build_network(config, vocabulary_size=2, outputs=2, max_length=setup.length, padding_id=0).double()
            values = torch.cat([singular_values(built.blocks, row) for row in x])
            found.append(
                {
                    "variant": variant,
                    "layers": layers,
                    **{name: values.quantile(share).item() for name, share in QUANTILES.items()},
                    "largest_deviation": (values - 1).abs().max().item(),
                }
            )
    return found


def singular_values(blocks: BlockStack | NoBlocks, x: Tensor) -> Tensor:
    """Return the singular values of the Jacobian of ``blocks`` at the stream ``x`` ``(T, D)`` of one row."""
    context = all_real(x[None])
    return jacobian_singular_values(lambda stream: blocks(stream[None], context)[0], x)
