"""Every setting that was measured, one row each: our speed beside the fastest other code's. Free of torch."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from experiments.benchmarking.comparison import OTHER_BATCHES, OWN_SIDES, REFERENCES
from experiments.benchmarking.pairs import MedianInterval, median_interval
from experiments.errors import ExperimentError
from experiments.reporting.render import EMPTY, Grid, rounded, to_markdown
from experiments.runs.files import write_atomically

PATTERN = "sides+*.csv"
PAGE = "sides_by_setting.md"


@dataclass(frozen=True)
class Setting:
    """The rounds of one file, as ``comparison_page`` writes it."""

    layers: int
    width: int
    threads: int
    precision: str
    """Of our own sides."""
    others_precision: str
    """Of the other implementations; all of them where they differ."""
    machine: str
    speeds: Mapping[str, Sequence[float]]
    """Real tokens per second by side, in the order of the rounds."""

    @property
    def reference(self) -> str | None:
        """Our side that the others are compared with; None where none was measured."""
        return next((side for side in REFERENCES if side in self.speeds), None)

    @property
    def fastest_other(self) -> str | None:
        """The fastest code of others that was fed with the same batches; None where none was measured."""
        others = [side for side in self.speeds if side not in (*OWN_SIDES, *OTHER_BATCHES)]
        return max(others, key=lambda side: median(self.speeds[side]), default=None)

    def speedup(self, side: str) -> MedianInterval:
        """Return how many times as fast as ``side`` our reference is: the median over rounds, with its interval."""
        assert self.reference is not None, "only settings with a side of ours are compared"
        pairs = zip(self.speeds[self.reference], self.speeds[side], strict=True)
        return median_interval([ours / theirs for ours, theirs in pairs])


def read_setting(path: Path) -> Setting:
    """Read one file of rounds.

    Raises:
        ExperimentError: where it is no such file.
    """
    speeds: dict[str, list[float]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        for row in sorted(rows, key=lambda row: int(row["round"])):
            speeds.setdefault(row["side"], []).append(float(row["tokens_per_second"]))
        own = next((row for row in rows if row["side"] in OWN_SIDES), rows[0])
        machine = f"{own['cpu']}, {own['cores']} cores, torch {own['torch']}, {own['date']}"
        sizes = (int(own["layers"]), int(own["width"]), int(own["threads"]))
        others = dict.fromkeys(row["precision"] for row in rows if row["side"] not in OWN_SIDES)
        return Setting(*sizes, own["precision"], " and ".join(others), machine, speeds)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ExperimentError(f"{path} is not a table of rounds that this benchmark wrote: {error!r}") from error


def settings_grid(settings: Sequence[Setting]) -> Grid:
    """Return the table for reading, from one thread to many and from small to large."""
    columns = ["layers", "width", "threads", "our precision", "others'", "ours", "real tokens/s", "fastest other"]
    columns += ["real tokens/s", "ours ÷ other", *(f"ours ÷ {side}" for side in OTHER_BATCHES)]
    rows = []
    for setting in sorted(settings, key=lambda setting: (setting.threads, setting.layers, setting.width)):
        ours, other = setting.reference, setting.fastest_other
        if ours is None or other is None:
            continue
        sizes = (setting.layers, setting.width, setting.threads)
        sides = [cell for side in (ours, other) for cell in (side, f"{median(setting.speeds[side]):.0f}")]
        compared = [spelled(setting, side) for side in (other, *OTHER_BATCHES)]
        rows.append([*map(str, sizes), setting.precision, setting.others_precision, *sides, *compared])
    return Grid(columns, rows)


def spelled(setting: Setting, side: str) -> str:
    """Return how many times as fast as a side ours is, with its interval; empty where it was not measured."""
    if side not in setting.speeds:
        return EMPTY
    ratio = setting.speedup(side)
    return f"{rounded(ratio.median, 2)} [{rounded(ratio.low, 2)}, {rounded(ratio.high, 2)}]"


def page(settings: Sequence[Setting]) -> str:
    """Return the table as Markdown, with how to read it."""
    rounds = sorted({len(speeds) for setting in settings for speeds in setting.speeds.values()})
    parts = [
        "# Training speed by setting",
        to_markdown(settings_grid(settings)).rstrip(),
        "One row for every table of sides beside this page (all sides, memory, utilisation). *Ours* is a run "
        "as every grid makes it: `workers` are as many single-thread runs at once as there are threads, `lightning` is "
        "one. *Fastest other* is the fastest other implementation on the same length-grouped batches, as it comes: "
        "in the precision of the column *others'*, and with dropout on attention probabilities too where it has that, "
        "while ours falls on the sublayers' outputs alone. Ratios are of real tokens per second, medians within "
        "rounds with their interval from order statistics "
        f"({' or '.join(map(str, rounds))} rounds); {' and '.join(OTHER_BATCHES)} draw random batches, padded to their "
        "longest row and to 128 tokens. A measurement of few steps has fewer rows to group by length, so its batches "
        "hold more padding than an epoch's; each table says how much.",
        "; ".join(sorted({setting.machine for setting in settings})) + ".",
    ]
    return "\n\n".join(parts) + "\n"


def write_settings(folder: Path) -> list[Path]:
    """Write the page over all tables of sides in ``folder``; return its path, if any table has ours and another side.

    Raises:
        ExperimentError: where a file cannot be read.
    """
    settings = [read_setting(path) for path in sorted(folder.glob(PATTERN))]
    if not settings_grid(settings).rows:
        return []
    write_atomically(folder / PAGE, page(settings).encode())
    return [folder / PAGE]
