"""How the cost of a run grows with each of its sizes, and of a grid with its runs and workers. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import pandas as pd

from experiments.reporting.render import rounded

STRAIGHT = 0.05
"""Largest deviation from the fitted line, as a share of the measured time, that still counts as straight."""

LENGTH = 32
"""Tokens of every generated row, unless the length varies."""


@dataclass(frozen=True)
class GrowthAxis:
    """One size that is varied while all others stay."""

    name: str
    unit: str
    values: tuple[int, ...]
    expected: str
    """What the growth is expected to be and why, as a sentence."""
    inverse: bool = False
    """Whether the time is expected to be a straight line in 1/value."""


AXES = {
    axis.name: axis
    for axis in (
        GrowthAxis(
            "depth", "blocks", (1, 2, 4, 8, 16), "Every block costs the same, so a line, with the embedding below it."
        ),
        GrowthAxis(
            "width",
            "features",
            (32, 64, 128, 256),
            "Steeper than a line: matrix products grow with the square of the width, everything else with the width.",
        ),
        GrowthAxis(
            "length",
            "tokens a row",
            (8, 16, 32, 64, 128),
            "Nearly a line: attention's scores grow with the square of the length, all other work with the length.",
        ),
        GrowthAxis("rows", "rows", (1280, 2560, 5120, 10240), "A line: every batch costs the same."),
        GrowthAxis("seeds", "runs", (1, 2, 4), "A line: runs share nothing but the worker's start."),
        GrowthAxis(
            "workers", "processes", (1, 2), "Seconds per run fall as 1/workers while there are cores.", inverse=True
        ),
    )
}


@dataclass(frozen=True)
class Growth:
    """Seconds along one axis, measured in rounds."""

    axis: GrowthAxis
    seconds: Mapping[int, Sequence[float]]
    """By value of the axis, one measurement per round."""

    def __post_init__(self) -> None:
        if len(self.seconds) < 2:
            raise ValueError("growth needs at least two sizes")

    @property
    def values(self) -> list[int]:
        """The sizes, ascending."""
        return sorted(self.seconds)

    def median(self, value: int) -> float:
        """Return the median of a size's seconds."""
        return median(self.seconds[value])

    def times(self, value: int) -> float:
        """Return how many times the seconds of the smallest size a size takes."""
        return self.median(value) / self.median(self.values[0])

    @property
    def exponent(self) -> float:
        """Slope of log seconds over log size, by least squares: 1 is proportional, 2 quadratic, −1 inverse."""
        sizes, seconds = np.log(self.values), np.log([self.median(value) for value in self.values])
        return float(np.polyfit(sizes, seconds, 1)[0])

    @property
    def deviation(self) -> float:
        """Largest distance from the least-squares line ``a + b·size`` (or ``a + b/size``), as a share of the time.

        With two sizes a line always fits; then the distance is from proportional growth through the first.
        """
        sizes = np.array([1 / value if self.axis.inverse else value for value in self.values])
        seconds = np.array([self.median(value) for value in self.values])
        if len(sizes) == 2:
            fitted = seconds[0] * sizes / sizes[0]
        else:
            # Relative errors are what is shown, so they are what is made small.
            slope, start = np.polyfit(sizes, seconds, 1, w=1 / seconds)
            fitted = start + slope * sizes
        return float(np.max(np.abs(fitted / seconds - 1)))

    @property
    def is_straight(self) -> bool:
        """Whether the line fits within ``STRAIGHT``."""
        return self.deviation <= STRAIGHT

    @property
    def sentence(self) -> str:
        """What was found along the axis, and what was expected."""
        line = "a line in 1/size" if self.axis.inverse else "a line"
        fits = f"{line} {'fits within' if self.is_straight else 'misses by up to'} {self.deviation:.0%}"
        first, last = self.values[0], self.values[-1]
        return (
            f"{last / first:.0f} times the {self.axis.unit} take {self.times(last):.2f} times the seconds (exponent "
            f"{rounded(self.exponent, 2)}); {fits}. {self.axis.expected}"
        )


def growth_along(measurements: pd.DataFrame) -> list[Growth]:
    """Return the growth along every axis that the table has measurements of."""
    return [
        Growth(axis, {int(str(value)): list(rows["seconds"]) for value, rows in found.groupby("value")})
        for name, axis in AXES.items()
        if not (found := measurements[measurements["axis"] == name]).empty
    ]
