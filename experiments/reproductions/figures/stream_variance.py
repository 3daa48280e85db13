"""T7a: variance of the residual stream by block, a panel per start."""

from __future__ import annotations

from matplotlib.figure import Figure
from pandas import DataFrame

from experiments.reporting.style import headline
from experiments.reproductions.figures.parts import Means, draw_course, said, spoken_courses
from experiments.reproductions.setups import StreamVariance


def draw(setup: StreamVariance, rows: DataFrame, means: Means) -> Figure:
    """Draw the deepest networks' variances, one line per variant."""
    deepest = rows[rows.layers == max(setup.layers)]
    figure = Figure(figsize=(7.6, 3.6), layout="constrained")
    panels = figure.subplots(1, len(setup.starts))
    for axes, start in zip(panels, setup.starts, strict=True):
        for variant in setup.variants:
            part = deepest[(deepest.variant == variant) & (deepest["start"] == start.name)]
            draw_course(axes, part, "block", "variance", variant, markevery=3)
        axes.set_xlabel("block")
        axes.set_title(f"{start.name}: width {start.width}, {start.initialisation} weights", loc="left", fontsize=9)
    panels[0].set_ylabel("variance of the stream")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    ratio, linearity = said(means["scaling_to_pre_ln"]), said(means["peri_ln_linearity"], ".3f")
    deciding, blocks = setup.starts[0].name, setup.layers[0]
    headline(
        figure,
        f"After {blocks} blocks ({deciding}) LayerNorm Scaling leaves {ratio} of Pre-LN's variance, and Peri-LN's "
        f"course is a line (R² {linearity}); drawn to {max(setup.layers)} blocks\n"
        f"{spoken_courses(setup.seeds)}",
    )
    return figure
