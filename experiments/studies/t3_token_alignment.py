"""T3: tokens align and query gradients vanish in deep Post-LN networks (Noci et al. 2022, arXiv:2206.03126)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.reporting.style import Picture
from experiments.studies.study import (
    Means,
    NetworkStudy,
    Quantities,
    Row,
    Start,
    course_caption,
    draw_course,
    said,
    shared_legend,
    title_of,
)

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import Tensor

    from experiments.studies.networks import Network

DEPTH, GREATER_DEPTH = 24, 48
NAMES = {"post_ln": "post_ln", "depth_scaled_post_ln": "scaled"}
PANELS = {
    "token_cosine": ("linear", "mean cosine between tokens\nafter the block"),
    "query_to_value_gradient": ("log", "gradient norm of $W_Q$ /\ngradient norm of $W_V$"),
}
DEPTH_LINES = (":", "-", "--")


@dataclass(frozen=True, kw_only=True)
class TokenAlignment(NetworkStudy):
    """Cosine between tokens, and gradients of the queries against those of the values, by block and depth."""

    measurement = "token_alignment"
    keys = ("variant", "layers", "block")
    values = ("token_cosine", "query_to_value_gradient")

    start: Start
    """Size and initial weights."""

    def measure(self, seed: int) -> list[Row]:
        """Measure, after every block of every network, how alike tokens are and how small query gradients are.

        ``token_cosine`` is the mean cosine between different tokens of a row after the block.
        ``query_to_value_gradient`` is ``‖∂L/∂W_Q‖_F / ‖∂L/∂W_V‖_F`` in the block. L is the mean cross-entropy at all
        tokens against Zipf-drawn targets. All is in float64.
        """
        from experiments.studies.networks import networks, token_batches

        batches = token_batches(self, seed)
        tokens, targets = next(batches), next(batches)
        return [
            {"variant": variant, "layers": layers, "block": block, "token_cosine": cosine,
             "query_to_value_gradient": ratio}
            for variant, layers, network in networks(self, self.start, seed)
            for block, cosine, ratio in by_block(network.double(), tokens, targets)
        ]  # fmt: skip

    @staticmethod
    def quantities(rows: DataFrame) -> Quantities:
        """Read, for ``post_ln`` and ``scaled`` branches, the blocks that the rule speaks of.

        At 24 blocks ``<name>_cosine`` and ``<name>_gradient_ratio`` in the last block and
        ``<name>_first_gradient_ratio`` in the first one; ``<name>_cosine_after_48`` of the deeper network.
        """
        found: Quantities = {}
        for variant, name in NAMES.items():
            of_variant = rows[rows.variant == variant]
            blocks = of_variant[of_variant.layers == DEPTH].set_index("block")
            deeper = of_variant[of_variant.layers == GREATER_DEPTH].set_index("block")
            found[f"{name}_cosine"] = float(blocks.token_cosine[DEPTH])
            found[f"{name}_gradient_ratio"] = float(blocks.query_to_value_gradient[DEPTH])
            found[f"{name}_first_gradient_ratio"] = float(blocks.query_to_value_gradient[1])
            found[f"{name}_cosine_after_{GREATER_DEPTH}"] = float(deeper.token_cosine[GREATER_DEPTH])
        return found

    def draw(self, rows: DataFrame, means: Means) -> Picture:
        """Draw both measures by block, one line per variant and depth."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7.6, 3.8), layout="constrained")
        panels = figure.subplots(1, 2)
        for axes, (column, (scale, label)) in zip(panels, PANELS.items(), strict=True):
            for variant in self.variants:
                for layers, line in zip(self.layers, DEPTH_LINES, strict=True):
                    part = rows[(rows.variant == variant) & (rows.layers == layers)]
                    name = f"{title_of(variant)}, {layers} blocks"
                    style = {"ls": line, "label": name, "ms": 3, "markevery": max(1, layers // 8)}
                    draw_course(axes, part, "block", column, variant, geometric=scale == "log", **style)
            axes.set_xlabel("block")
            axes.set_ylabel(label)
            axes.set_yscale(scale)
        shared_legend(figure, panels[0], 2)
        return Picture(
            figure,
            f"Cosine between tokens after {DEPTH} blocks: {said(means['post_ln_cosine'], '.4f')} in Post-LN, "
            f"{said(means['scaled_cosine'])} with branches scaled by 1/√L",
            course_caption(self.seeds),
        )


def by_block(network: Network, tokens: Tensor, targets: Tensor) -> Iterator[tuple[int, float, float]]:
    """Yield number, token cosine and gradient ratio of each block, counted from 1; tokens and targets ``(B, T)``."""
    import torch

    from experiments.studies.networks import all_real, network_stream, token_loss
    from lightning_modules.probes.gradients import gradient_norms
    from lightning_modules.probes.signal import token_cosine

    mask = all_real(tokens).attention_mask
    _, *states = network_stream(network, tokens)
    parameters = list(network.blocks.parameters())
    loss = token_loss(network, states[-1], targets)
    gradients: dict[Tensor, Tensor] = dict(zip(parameters, torch.autograd.grad(loss, parameters), strict=True))
    for number, (block, state) in enumerate(zip(network.blocks.children(), states, strict=True), start=1):
        norms = gradient_norms(block, gradients)
        yield number, token_cosine(state, mask).item(), (norms["attention_query"] / norms["attention_value"]).item()
