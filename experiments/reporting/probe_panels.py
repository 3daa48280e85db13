"""What is measured inside a network, as panels of a figure: names for people, scales and lines of reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import LogLocator, NullFormatter

from experiments.reporting.style import GREY

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_DECADES = 12
"""Decades that a log scale shows; what lies lower is rounding, and would flatten all other lines."""

LEAST_SPAN = 0.01
"""Least height of a linear panel."""
NOTE_WIDTH = 34
"""Characters of a note in a panel in one line."""


@dataclass(frozen=True)
class Panel:
    """One measure and how it is drawn."""

    measure: str
    title: str
    log: bool = False
    reference: float | None = None
    """Value that a grey line marks."""
    over: str | None = None
    """Measure that this one is divided by."""

    def relative(self, value: float | None, base: float | None) -> float | None:
        """Return a value of the measure over one of ``over``; None where that says nothing."""
        if self.over is None:
            return value
        return value / base if value is not None and base else None


PANELS = (
    Panel("stream_rms", "stream: RMS", log=True),
    Panel("stream_mean", "stream: mean / RMS", reference=0, over="stream_rms"),
    Panel("stream_gradient_norm", "gradient of the stream (L2)", log=True),
    Panel("token_cosine", "cosine between tokens"),
    Panel("rank_one_distance", "distance to rank one", log=True),
    Panel("effective_rank", "effective rank"),
    Panel("kurtosis", "kurtosis of neuron sizes", log=True, reference=1),
    Panel("update_share_attention", "attention: update / stream", log=True, reference=1),
    Panel("update_share_feed_forward", "feed-forward: update / stream", log=True, reference=1),
    Panel("attention_entropy_share", "attention entropy / maximum"),
    Panel("inactive_share", "resting hidden units (share)"),
    Panel("jacobian_largest", "block Jacobian: largest σ", log=True, reference=1),
    Panel("jacobian_median", "block Jacobian: median σ", log=True, reference=1),
    Panel("gradient_norm_attention_query", "gradient of W query (L2)", log=True),
    Panel("gradient_norm_attention_key", "gradient of W key (L2)", log=True),
    Panel("gradient_norm_attention_value", "gradient of W value (L2)", log=True),
    Panel("gradient_norm_attention_output", "gradient of W attention output (L2)", log=True),
    Panel("gradient_norm_feed_forward_hidden", "gradient of W hidden (L2)", log=True),
    Panel("gradient_norm_feed_forward_output", "gradient of W output (L2)", log=True),
    Panel("update_ratio_attention_query", "step / weight: W query", log=True),
    Panel("update_ratio_attention_value", "step / weight: W value", log=True),
    Panel("update_ratio_feed_forward_hidden", "step / weight: W hidden", log=True),
    Panel("update_ratio_feed_forward_output", "step / weight: W output", log=True),
)


def scale_linearly(axes: Axes) -> None:
    """Show at least ``LEAST_SPAN``: what varies by less is rounding. Numbers stand in full, without an offset."""
    bottom, top = axes.get_ylim()
    if top - bottom < LEAST_SPAN:
        middle = (bottom + top) / 2
        axes.set_ylim(middle - LEAST_SPAN / 2, middle + LEAST_SPAN / 2)
    axes.ticklabel_format(axis="y", useOffset=False)


def name_the_unseen(axes: Axes, lines: Mapping[str, np.ndarray]) -> None:
    """Write into a log panel whose values are all 0 or below its axis: such a line would be missing without a word."""
    known = {name: values[~np.isnan(values)] for name, values in lines.items()}
    bottom = axes.get_ylim()[0]
    zero = [name for name, values in known.items() if len(values) and not values.any()]
    below = [name for name, values in known.items() if len(values) and (values < bottom).all() and name not in zero]
    said = [f"{what}: {', '.join(names)}" for what, names in (("zero", zero), ("below", below)) if names]
    if said:
        text = fill("; ".join(said), NOTE_WIDTH)
        axes.text(0.02, 0.02, text, transform=axes.transAxes, va="bottom", color=GREY, fontsize=7)


def scale_logarithmically(axes: Axes) -> None:
    """Use a log scale of one to ``MOST_DECADES`` decades; a short one has plain numbers, also between powers of ten."""
    axes.set_yscale("log")
    bottom, top = axes.get_ylim()
    stretch = max(1.0, (10 * bottom / top) ** 0.5)
    axes.set_ylim(max(bottom / stretch, top / 10**MOST_DECADES), top * stretch)
    if top / bottom < 30:
        axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        axes.yaxis.set_minor_formatter("{x:g}")
        axes.yaxis.set_major_formatter("{x:g}")
    else:
        axes.yaxis.set_minor_formatter(NullFormatter())
