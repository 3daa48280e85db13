"""T2: distance from rank one by block, a panel per start."""

from __future__ import annotations

from matplotlib.figure import Figure
from pandas import DataFrame

from experiments.reporting.style import GREY, headline
from experiments.reproductions.figures.parts import Means, draw_course, said, spoken_courses
from experiments.reproductions.setups import RankCollapse

STACKS = {
    "attention": ("plain", "attention alone", {}),
    "attention_feed_forward": ("plain", "attention and feed-forward", {"ls": ":", "mfc": "white"}),
    "attention_norm": ("no_residual", "attention and LayerNorm", {}),
    "attention_skip": ("no_norm", "attention and skip", {}),
    "post_ln": ("post_ln", "Post-LN block", {}),
    "pre_ln": ("pre_ln", "Pre-LN block", {}),
}


def draw(setup: RankCollapse, rows: DataFrame, means: Means) -> Figure:
    """Draw every stack's distance on a logarithmic axis; the dotted line is where float64 rounds."""
    figure = Figure(figsize=(7.4, 3.8), layout="constrained")
    panels = figure.subplots(1, len(setup.starts), sharey=True)
    for axes, start in zip(panels, setup.starts, strict=True):
        for stack in setup.stacks:
            variant, label, line = STACKS[stack]
            part = rows[(rows["start"] == start.name) & (rows["stack"] == stack)]
            draw_course(axes, part, "block", "rank_one_distance", variant, geometric=True, label=label, **line)
        axes.axhline(2e-16, color=GREY, lw=0.9, ls=":")
        axes.set_yscale("log")
        axes.set_xlabel("block")
        axes.set_title(f"{start.name}: width {start.width}, {start.initialisation} weights", loc="left", fontsize=9)
    panels[0].set_ylabel("distance of the tokens from rank one\n‖X − 1x̄ᵀ‖ / ‖X‖")
    panels[0].set_ylim(bottom=2e-18)
    panels[0].text(12, 1e-16, "rounding of float64", ha="right", va="top", fontsize=7, color=GREY)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    first = setup.starts[0].name
    headline(
        figure,
        f"Attention alone is {said(means['attention_after_4'], '.0e')} from rank one after 4 blocks ({first}); with "
        f"skips it keeps {said(means['attention_skip_after_12'])} after 12, from the other start "
        f"{said(means['xavier_attention_skip_after_12'])}\n{spoken_courses(setup.seeds)}",
    )
    return figure
