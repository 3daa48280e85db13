"""What the figures of studies share: means over networks with their bands, axes of depths, numbers in titles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from experiments.reporting.curves import FEWEST_FOR_INTERVAL, seed_band
from experiments.reporting.style import headline, look_of
from experiments.studies.study import StudyFigure
from lightning_modules.schemes.variants import VARIANTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame


def study_figure(figure: Figure, title: str, caption: str) -> StudyFigure:
    """Give a figure its title as headline, and keep title and caption for the page."""
    headline(figure, title)
    return StudyFigure(figure, title, caption)


def title_of(variant: str) -> str:
    """Name a variant for a figure."""
    return VARIANTS[variant].title


def draw_course(
    axes: Axes, rows: DataFrame, x: str, y: str, variant: str, *, geometric: bool = False, **line: Any
) -> None:
    """Draw the mean of ``y`` over seeds against ``x`` in the variant's look, with the band of :func:`course_caption`.

    On logarithmic axes the mean is ``geometric``, and values of zero are left out.
    """
    band = seed_band([{name: rows[name].tolist() for name in (x, y)}], x, y, geometric=geometric)
    if band is None:
        return
    look = look_of(variant)
    style = {"color": look.color, "ls": look.line, "marker": look.marker, "label": title_of(variant)}
    axes.fill_between(band.x, band.low, band.high, color=look.color, alpha=0.15, lw=0)
    axes.plot(band.x, band.mean, **{"ms": 4.5, "lw": 1.4, **style, **line})


def course_caption(seeds: int) -> str:
    """Explain the lines and bands of :func:`draw_course` for this number of networks."""
    if seeds == 1:
        return "Lines: one network."
    bands = "its 95 % t-interval" if seeds >= FEWEST_FOR_INTERVAL else "their range"
    return f"Lines: mean over {seeds} networks, geometric on logarithmic axes. Bands: {bands}."


def shared_legend(figure: Figure, axes: Axes, columns: int) -> None:
    """Explain the lines of all panels once, below them."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def logarithmic_depth(axes: Axes, layers: list[int]) -> None:
    """Make the horizontal axis a logarithmic one of the depths that were built."""
    axes.set_xscale("log")
    axes.set_xticks(layers, [str(value) for value in layers])
    axes.xaxis.minorticks_off()


def logarithmic_values(axes: Axes) -> None:
    """Make the vertical axis logarithmic, with ticks at 1, 2 and 5 if it spans less than two decades."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    if high < 100 * low:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
        axes.yaxis.minorticks_off()


def said(value: float | None, form: str = ".2f") -> str:
    """Spell a number for a title, with a real minus sign."""
    return "–" if value is None else f"{value:{form}}".replace("-", "−")
