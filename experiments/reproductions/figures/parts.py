"""What the figures of reproductions share: lines over networks with their bands, and how a variant is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from experiments.reporting.curves import FEWEST_FOR_INTERVAL, seed_band
from experiments.reporting.style import look_of
from lightning_modules.schemes.variants import VARIANTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame


Means = Mapping[str, float | None]
"""The mean over seeds of every quantity of the rule; none where some seed does not have it."""


def title_of(variant: str) -> str:
    """Return a variant's name in figures."""
    return VARIANTS[variant].title


def draw_course(
    axes: Axes, rows: DataFrame, x: str, y: str, variant: str, *, geometric: bool = False, **line: Any
) -> None:
    """Draw the mean of ``y`` over seeds against ``x`` in the variant's look, with the band of :func:`spoken_courses`.

    On logarithmic axes the mean is ``geometric``, and values of zero are left out.
    """
    look = look_of(variant)
    band = seed_band([{name: rows[name].tolist() for name in (x, y)}], x, y, geometric=geometric)
    if band is None:
        return
    style = {
        "color": look.color,
        "ls": look.line,
        "marker": look.marker,
        "ms": 4.5,
        "lw": 1.4,
        "label": title_of(variant),
    }
    axes.fill_between(band.x, band.low, band.high, color=look.color, alpha=0.15, lw=0)
    axes.plot(band.x, band.mean, **{**style, **line})


def spoken_courses(seeds: int) -> str:
    """Return what the lines and bands of :func:`draw_course` are, for so many networks."""
    if seeds == 1:
        return "lines: one network"
    bands = "its 95 % t-interval" if seeds >= FEWEST_FOR_INTERVAL else "their range"
    return f"lines: mean over {seeds} networks, geometric on logarithmic axes; bands: {bands}"


def logarithmic_depth(axes: Axes, layers: list[int]) -> None:
    """Make the horizontal axis a logarithmic one of the depths that were built."""
    axes.set_xscale("log")
    axes.set_xticks(layers, [str(value) for value in layers])
    axes.xaxis.minorticks_off()


def logarithmic_values(axes: Axes) -> None:
    """Make the vertical axis logarithmic, with ticks at 1, 2 and 5 where it spans less than two decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high < 100 * low:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
        axes.yaxis.minorticks_off()


def said(value: float | None, form: str = ".2f") -> str:
    """Return a number for a title, with a real minus sign."""
    return "–" if value is None else f"{value:{form}}".replace("-", "−")
