"""What every study of a published result has: a setup, a measurement, the quantities of its rule, and a figure.

The fields of a study are the section ``setup`` of its claim file. No field has a default: what decides a number must be
in the claim file. Figures share their means with bands, their axes of depths, and the way that titles spell numbers.
All networks are at initialisation, without dropout. Free of torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from experiments.errors import ExperimentError
from experiments.reporting.curves import FEWEST_FOR_INTERVAL, seed_band
from experiments.reporting.style import Picture, look_of
from lightning_modules.config import Initialisation, ModelConfig, Positions
from lightning_modules.errors import reject_unknown
from lightning_modules.schemes.variants import VARIANTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame


Row = dict[str, Any]
"""One line of a measurement: what it was measured on, and numbers; ``None`` for a number that is not finite."""

Quantities = dict[str, float | None]
"""The numbers that a rule bounds, by name; ``None`` for one that is not defined."""

Means = Mapping[str, float | None]
"""The mean of every quantity over seeds; ``None`` for a quantity that some seed does not have."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """Size and initial weights of the networks."""

    name: str
    """Name in tables."""

    width: int
    """Width D of the stream."""

    heads: int
    """Attention heads."""

    initialisation: Initialisation
    """``xavier`` or ``gaussian`` (sd 0.02); embeddings have sd 0.02 with both."""

    def __post_init__(self) -> None:
        ModelConfig(width=self.width, heads=self.heads, initialisation=self.initialisation)  # which checks them

    @property
    def title(self) -> str:
        """Name, width and weights, for a panel."""
        return f"{self.name}: width {self.width}, {self.initialisation} weights"


@dataclass(frozen=True, kw_only=True)
class Study(ABC):
    """A published result as we measure it.

    Raises:
        ExperimentError, ConfigurationError: for a value out of range, naming the nearest valid choice.
    """

    measurement: ClassVar[str]
    """Name by which claim files ask for the study."""

    keys: ClassVar[tuple[str, ...]]
    """Columns that tell the rows of one seed apart."""

    values: ClassVar[tuple[str, ...]]
    """Columns that are measured."""

    @staticmethod
    @abstractmethod
    def quantities(rows: DataFrame) -> Quantities:
        """Compute from one seed's rows the numbers that the rule of the claim file bounds."""

    @abstractmethod
    def draw(self, rows: DataFrame, means: Means) -> Picture:
        """Draw the rows of all seeds; ``means`` are the quantities' means, for the title."""


@dataclass(frozen=True, kw_only=True)
class StudyOfRuns(Study):
    """A study that judges training runs of a grid by their records."""

    @abstractmethod
    def rows_of_runs(self, results: Path) -> tuple[list[Row], str]:
        """Collect a row, with its ``seed``, for each finished run, and say what is missing, or nothing."""


@dataclass(frozen=True, kw_only=True)
class StudyAtStart(Study):
    """A study that measures networks at initialisation."""

    seeds: int
    """Independent draws of weights and tokens: seeds 0, 1, …"""

    layers: list[int]
    """Numbers of blocks L."""

    rows: int
    """Rows of tokens in the batch, B."""

    length: int
    """Tokens in each row, T."""

    def __post_init__(self) -> None:
        if self.seeds < 3:
            raise ExperimentError(f"setup.seeds is {self.seeds}; a measurement needs at least 3 for an interval")
        sizes = {"rows": self.rows, "length": self.length, **{f"layers[{i}]": n for i, n in enumerate(self.layers)}}
        for name, size in sizes.items():
            if size < 1:
                raise ExperimentError(f"setup.{name} is {size}; it must be at least 1")

    @abstractmethod
    def measure(self, seed: int) -> list[Row]:
        """Measure one seed; the result is a function of setup and seed alone."""


@dataclass(frozen=True, kw_only=True)
class NetworkStudy(StudyAtStart):
    """A study of whole networks that read tokens drawn from Zipf's law."""

    variants: list[str]
    """Residual and normalisation schemes."""

    vocabulary: int
    """Number of tokens and of output classes, V; token 0 is padding and never drawn."""

    positions: Positions
    """Position embedding: ``learned``, ``sinusoidal`` or ``none``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_variants(self.variants)
        ModelConfig(positions=self.positions)  # which checks the name


def check_variants(variants: Sequence[str]) -> None:
    """Refuse a variant that does not exist, naming the nearest one."""
    for variant in variants:
        reject_unknown("setup.variants", variant, VARIANTS)


def log_log_slope(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Fit ln y against ln x by least squares: the exponent of a power law; None if a value is not positive."""
    if not (np.greater(x, 0).all() and np.greater(y, 0).all()):
        return None
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


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
