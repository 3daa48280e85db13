"""T1: gradient norm of the last feed-forward matrix against depth, log-log."""

from __future__ import annotations

from matplotlib.figure import Figure
from pandas import DataFrame

from experiments.reporting.style import headline
from experiments.reproductions.figures.parts import (
    Means,
    draw_course,
    logarithmic_depth,
    logarithmic_values,
    said,
    spoken_courses,
    title_of,
)
from experiments.reproductions.setups import GradientByDepth

PANELS = {
    "token_gradient_norm": ("slope", "loss of one token, mean over tokens"),
    "batch_gradient_norm": ("batch_slope", "loss averaged over all tokens"),
}


def draw(setup: GradientByDepth, rows: DataFrame, means: Means) -> Figure:
    """Draw both gradients, a panel each, with the fitted exponents in the legend."""
    figure = Figure(figsize=(6.8, 3.4), layout="constrained")
    for axes, (column, (name, caption)) in zip(figure.subplots(1, 2), PANELS.items(), strict=True):
        for variant in setup.variants:
            label = f"{title_of(variant)}: slope {said(means[f'{variant}_{name}'])}"
            draw_course(axes, rows[rows.variant == variant], "layers", column, variant, geometric=True, label=label)
        logarithmic_values(axes)
        logarithmic_depth(axes, setup.layers)
        axes.set_xlabel("blocks")
        axes.set_title(caption, loc="left", fontsize=9)
        axes.legend(loc="lower left")
    figure.supylabel("gradient norm of the last W₂ (Frobenius)", fontsize=9)
    headline(
        figure,
        f"Last feed-forward gradient: depth to the power {said(means['post_ln_slope'])} in Post-LN and "
        f"{said(means['pre_ln_slope'])} in Pre-LN\n{spoken_courses(setup.seeds)}",
    )
    return figure
