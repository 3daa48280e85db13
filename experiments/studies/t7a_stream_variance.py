"""T7a at initialisation: how the variance of the residual stream grows (Sun et al. 2025, arXiv:2502.05795)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

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
)

if TYPE_CHECKING:
    from pandas import DataFrame

NAMES = {"pre_ln": "pre_ln", "layer_norm_scaling": "scaling", "peri_ln": "peri_ln"}


@dataclass(frozen=True, kw_only=True)
class StreamVariance(NetworkStudy):
    """Variance of the residual stream by block."""

    measurement = "stream_variance"
    keys = ("start", "variant", "layers", "block")
    values = ("variance",)

    starts: list[Start]
    """Sizes and initial weights; the first one decides the verdict."""

    def measure(self, seed: int) -> list[Row]:
        """Measure the variance of all features of all tokens, before the first and after every block."""
        import torch

        from experiments.studies.networks import network_stream, networks, token_batches

        tokens = next(token_batches(self, seed))
        with torch.no_grad():
            return [
                {"start": start.name, "variant": variant, "layers": layers, "block": block,
                 "variance": x.var(correction=0).item()}
                for start in self.starts
                for variant, layers, network in networks(self, start, seed)
                for block, x in enumerate(network_stream(network, tokens))
            ]  # fmt: skip

    @staticmethod
    def quantities(rows: DataFrame) -> Quantities:
        """Compute size and straightness of the courses.

        ``scaling_to_pre_ln`` is the variance after the last block under LayerNorm Scaling divided by that of Pre-LN.
        ``<variant>_linearity`` is the R² of a straight line through the variances by block. Names of the second start
        begin with its name; names of the second depth end in ``_at_<L>``.
        """
        found: Quantities = {}
        for start_place, (start, of_start) in enumerate(rows.groupby("start", sort=False)):
            prefix = f"{str(start).lower()}_" if start_place else ""
            for depth_place, (layers, of_depth) in enumerate(of_start.groupby("layers", sort=False)):
                suffix = f"_at_{layers}" if depth_place else ""
                courses = {NAMES[str(name)]: list(part.variance) for name, part in of_depth.groupby("variant")}
                found |= {f"{prefix}{name}_linearity{suffix}": linearity(course) for name, course in courses.items()}
                found[f"{prefix}scaling_to_pre_ln{suffix}"] = courses["scaling"][-1] / courses["pre_ln"][-1]
        return found

    def draw(self, rows: DataFrame, means: Means) -> Picture:
        """Draw the deepest networks' variances, a panel per start and a line per variant."""
        from matplotlib.figure import Figure

        deepest = rows[rows.layers == max(self.layers)]
        figure = Figure(figsize=(7.8, 3.6), layout="constrained")
        panels = figure.subplots(1, len(self.starts))
        for axes, start in zip(panels, self.starts, strict=True):
            for variant in self.variants:
                part = deepest[(deepest.variant == variant) & (deepest["start"] == start.name)]
                draw_course(axes, part, "block", "variance", variant, markevery=3)
            axes.set_xlabel("block")
            axes.set_title(start.title, loc="left", fontsize=9)
        panels[0].set_ylabel("variance of the stream")
        shared_legend(figure, panels[0], len(self.variants))
        return Picture(
            figure,
            f"Variance after {self.layers[0]} blocks: LayerNorm Scaling leaves {said(means['scaling_to_pre_ln'])} of "
            f"Pre-LN's, Peri-LN grows on a line (R² {said(means['peri_ln_linearity'], '.3f')})",
            f"The title is about {self.starts[0].name}; drawn are networks of {max(self.layers)} blocks. "
            f"{course_caption(self.seeds)}",
        )


def linearity(y: Sequence[float]) -> float:
    """Compute R² of a straight line through equally spaced values: the squared correlation with their index."""
    return float(np.corrcoef(np.arange(len(y)), y)[0, 1] ** 2)
