"""T4a: the spread of the Jacobian's singular values by depth."""

from __future__ import annotations

from matplotlib.figure import Figure
from pandas import DataFrame

from experiments.reporting.style import headline, look_of
from experiments.reproductions.figures.parts import Means, said, title_of
from experiments.reproductions.setups import JacobianIsometry

QUANTILES = ("smallest", "lower_decile", "median", "upper_decile", "largest")
FLOOR = 1e-14
"""Smallest singular value that is drawn: directions that a norm removes have none."""


def draw(setup: JacobianIsometry, rows: DataFrame, means: Means) -> Figure:
    """Draw, for every depth and variant, deciles (thick) and extremes (thin) of the values, mean over seeds."""
    figure = Figure(figsize=(6.8, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for shift, variant in enumerate(setup.variants):
        look = look_of(variant)
        for place, layers in enumerate(setup.layers):
            x = place + 0.22 * (shift - 1)
            part = rows[(rows.variant == variant) & (rows.layers == layers)]
            low, lower, middle, upper, high = (max(part[name].mean(), FLOOR) for name in QUANTILES)
            axes.plot([x, x], [low, high], color=look.color, lw=1.2)
            axes.plot([x, x], [lower, upper], color=look.color, lw=5, alpha=0.45, solid_capstyle="butt")
            label = title_of(variant) if place == 0 else None
            axes.plot(x, middle, look.marker, color=look.color, ms=6, mec="white", mew=0.6, ls="none", label=label)
    axes.set_yscale("log")
    axes.set_ylim(bottom=FLOOR)
    axes.set_xticks(range(len(setup.layers)), [str(layers) for layers in setup.layers])
    axes.grid(visible=False, axis="x")
    axes.set_xlabel("blocks in the stack")
    axes.set_ylabel("singular values of the Jacobian\n(median, 80 %, all; below 1e-14 cut off)")
    figure.legend(loc="outside lower center", ncols=len(setup.variants))
    deepest = setup.layers[-1]
    headline(
        figure,
        f"ReZero's singular values all start at 1 (off by {said(means['rezero_largest_deviation'], '.1g')} at most);\n"
        f"after {deepest} blocks the median is {said(means[f'pre_ln_median_at_{deepest}'], '.2g')} in Pre-LN and "
        f"{said(means[f'post_ln_median_at_{deepest}'], '.1g')} in Post-LN\n"
        f"mean over {setup.seeds} networks",
    )
    return figure
