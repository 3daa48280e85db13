"""T10: change of the logits by one step against depth, log-log, a panel per optimiser and group of parameters."""

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
from experiments.reproductions.setups import UpdateSize

GROUPS = {"matrices": "sublayers' matrices", "norms": "norms' gains and biases", "all": "all parameters"}
OPTIMIZERS = {"sgd": "SGD", "adam": "Adam"}


def draw(setup: UpdateSize, rows: DataFrame, means: Means) -> Figure:
    """Draw every panel with the fitted exponents in its legend."""
    figure = Figure(figsize=(8.2, 5.4), layout="constrained")
    grid = figure.subplots(len(setup.optimizers), len(GROUPS), sharex=True)
    for line, optimizer in zip(grid, setup.optimizers, strict=True):
        for axes, (group, caption) in zip(line, GROUPS.items(), strict=True):
            for variant in setup.variants:
                part = rows[(rows.variant == variant) & (rows.optimizer == optimizer) & (rows.parameters == group)]
                slope = said(means[f"{variant}_{optimizer}_{group}_slope"])
                label = f"{title_of(variant)}: {slope}"
                draw_course(axes, part, "layers", "logit_change", variant, geometric=True, label=label)
            logarithmic_values(axes)
            logarithmic_depth(axes, setup.layers)
            axes.set_title(f"{OPTIMIZERS[optimizer]}, {caption}", loc="left", fontsize=9)
            low, high = axes.get_ylim()
            axes.set_ylim(low, high * (high / low) ** 0.45)  # room for the legend
            axes.legend(loc="upper left", title="slope", title_fontsize=8, alignment="left", fontsize=7)
    figure.supxlabel("blocks", fontsize=9)
    figure.supylabel("root mean square change of the logits / learning rate", fontsize=9)
    deepnorm, post_ln = (said(means[f"{variant}_sgd_matrices_slope"]) for variant in ("deepnorm", "post_ln"))
    headline(
        figure,
        f"One SGD step on the matrices changes the logits by depth to the power {deepnorm} in DeepNorm and {post_ln} "
        f"in Post-LN\n{spoken_courses(setup.seeds)}",
    )
    return figure
