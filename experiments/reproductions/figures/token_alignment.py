"""T3: token cosine and query gradients by block."""

from __future__ import annotations

from matplotlib.figure import Figure
from pandas import DataFrame

from experiments.reporting.style import headline
from experiments.reproductions.figures.parts import Means, draw_course, said, spoken_courses, title_of
from experiments.reproductions.rules.token_alignment import DEPTH
from experiments.reproductions.setups import TokenAlignment

PANELS = {
    "token_cosine": "mean cosine between tokens\nafter the block",
    "query_to_value_gradient": "gradient norm of $W_Q$ /\ngradient norm of $W_V$",
}
LOGARITHMIC = ("query_to_value_gradient",)
DEPTH_LINES = (":", "-", "--")


def draw(setup: TokenAlignment, rows: DataFrame, means: Means) -> Figure:
    """Draw both measures by block, one line per variant and depth."""
    figure = Figure(figsize=(7.4, 3.8), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, (column, label) in zip(panels, PANELS.items(), strict=True):
        for variant in setup.variants:
            for layers, line in zip(setup.layers, DEPTH_LINES, strict=True):
                part = rows[(rows.variant == variant) & (rows.layers == layers)]
                name = f"{title_of(variant)}, {layers} blocks"
                style = {"ls": line, "label": name, "ms": 3, "markevery": max(1, layers // 8)}
                draw_course(axes, part, "block", column, variant, geometric=column in LOGARITHMIC, **style)
        axes.set_xlabel("block")
        axes.set_ylabel(label)
        axes.set_yscale("log" if column in LOGARITHMIC else "linear")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    headline(
        figure,
        f"After {DEPTH} blocks tokens have cosine {said(means['post_ln_cosine'], '.4f')} in Post-LN and "
        f"{said(means['scaled_cosine'])} with branches scaled by 1/√L\n{spoken_courses(setup.seeds)}",
    )
    return figure
