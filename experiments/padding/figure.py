"""What padding does as a figure: a panel per quantity, from no padding to most."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import TYPE_CHECKING

from experiments.padding.arrangements import AS_TESTED
from experiments.padding.networks import Network, finding
from experiments.reporting.panels import make_panels
from experiments.reporting.style import headline, look_of, settings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

QUANTITIES = {
    "changed": "share of rows with another class",
    "macro_f1": "macro F1 on the test rows",
    "largest_change": "largest change of a probability (log)",
}
APART = 0.08
"""Distance between networks on the axis, so that equal values can be told apart."""
LEAST = 1e-9
"""Smaller changes are drawn here: a logarithm has no zero."""


def padding_figure(networks: Sequence[Network]) -> Figure:
    """Draw every run as a dot and the means over runs as a line."""
    import matplotlib

    with matplotlib.rc_context(settings()):
        figure, panels = make_panels(len(QUANTITIES), width=2.9, height=2.7, share=False)
        for axes, (quantity, title) in zip(panels, QUANTITIES.items(), strict=True):
            draw(axes, quantity, networks)
            axes.set_title(title, loc="left", fontsize=9)
        figure.supxlabel("columns of padding added to every batch", fontsize=9)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower right", ncols=len(networks))
        headline(figure, f"{finding(networks)} Dots: runs; lines: means.")
    return figure


def draw(axes: Axes, quantity: str, networks: Sequence[Network]) -> None:
    """Draw one quantity against the arrangements, which all networks have in common."""
    names, is_log = networks[0].arrangements, quantity == "largest_change"
    for index, network in enumerate(networks):
        look = look_of(network.condition)
        shift = APART * (index - (len(networks) - 1) / 2)
        places = [place + shift for place in range(len(names))]
        by_name = [[getattr(effect, quantity) for effect in network.effects(name)] for name in names]
        if is_log:
            # As tested nothing changes by definition, which is no point of a logarithmic axis.
            by_name = [
                [nan if name == AS_TESTED else max(value, LEAST) for value in values]
                for name, values in zip(names, by_name, strict=True)
            ]
        for place, values in zip(places, by_name, strict=True):
            axes.plot([place] * len(values), values, "o", color=look.color, alpha=0.4, ms=4, mew=0)
        means = [sum(values) / len(values) for values in by_name]
        axes.plot(places, means, color=look.color, ls=look.line, marker=look.marker, ms=4, label=network.label)
    axes.set_xticks(range(len(names)), [name.removesuffix(" columns") for name in names], fontsize=8)
    if is_log:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
