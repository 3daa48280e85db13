"""The one page of the benchmark, generated from its table: medians of rounds, ratios within rounds. Free of torch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from experiments.benchmark.growth import LENGTH, growth_along
from experiments.benchmark.table import (
    EVALUATION_ROWS,
    MATRIX_SIZE,
    OTHER_BATCHES,
    OWN_SIDES,
    REFERENCES,
    TABLE_FILE,
    VERSIONS,
)
from experiments.reporting.render import EMPTY, TextTable, joined, plural, rounded, to_markdown
from experiments.statistics.medians import MedianInterval, median_interval
from lightning_modules.schemes.variants import VARIANTS

PAGE_FILE = "benchmark.md"
NUMBER_FORMATS = {"float32": "fp32", "bfloat16": "bf16"}
"""Formats in which the machine's rate is measured, and how the tables call them."""
REFERENCE_VARIANT = "post_ln"
"""The variant that the others are compared with, if it was measured; else the first one is."""


@dataclass(frozen=True)
class PageSection:
    """One question: what was found, the table, and how to read it."""

    title: str
    found: list[str]
    grid: TextTable
    notes: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        """Return the section."""
        return "\n\n".join([f"## {self.title}", *self.found, to_markdown(self.grid).rstrip(), *self.notes])


def page(measurements: pd.DataFrame) -> str:
    """Return the page over all measurements."""
    start = (
        f"`python -m experiments.benchmark` writes this page from [every round]({TABLE_FILE}). Figures are medians of "
        "rounds. Intervals, in brackets, lie between two order statistics and assume no distribution."
    )
    parts = ["# Speed and memory of training", start, *(section.markdown() for section in sections(measurements))]
    return "\n\n".join(parts) + "\n"


def sections(measurements: pd.DataFrame) -> list[PageSection]:
    """Return a section for every question that was measured."""
    rounds = [SideRounds(rows) for rows in series_of(measurements, "side")]
    rounds.sort(key=lambda each: (each.first["threads"], each.first["layers"], each.first["width"]))
    built = [settings_section(rounds), sides_section(rounds), machine_section(rounds)]
    built += [pair_section(rows) for rows in series_of(measurements, "pair")]
    built += [pool_section(rows) for rows in series_of(measurements, "pool")]
    built += [variants_section(rows) for rows in series_of(measurements, "variant")]
    built += [growth_section(measurements), memory_section(measurements[measurements["axis"] == "memory"])]
    return [section for section in built if section and section.grid.rows]


def series_of(measurements: pd.DataFrame, axis: str) -> Iterator[pd.DataFrame]:
    """Yield the rows of every series of an axis, in the order of measurement."""
    for _, rows in measurements[measurements["axis"] == axis].groupby("series", sort=False):
        yield rows


def spelled(found: MedianInterval, digits: int) -> str:
    """Return ``17.2 [17.0, 17.5]``."""
    return f"{rounded(found.median, digits)} [{rounded(found.low, digits)}, {rounded(found.high, digits)}]"


def coverage(count: int) -> str:
    """Return how often the interval of ``count`` values holds the true median, such as ``96.9%``."""
    return f"{median_interval(range(count)).coverage:.1%}"


def where(rows: pd.DataFrame) -> str:
    """Return on which machine, with which versions, and when rows were measured."""
    told = []
    for _, same in rows.groupby(["date", "cpu", "cores", *VERSIONS], sort=False):
        first = same.iloc[0]
        versions = ", ".join(f"{name} {first[name]}" for name in VERSIONS if first[name])
        loads = sorted(set(same["load_average"]), key=lambda load: float(load or 0))
        load = loads[0] if len(loads) == 1 else f"{loads[0]} to {loads[-1]}"
        told.append(
            f"{first['cpu']}, {first['cores']} cores; load average at the start {load}; {versions}; {first['date']}."
        )
    return " ".join(told)


@dataclass(frozen=True)
class SideRounds:
    """Rounds that measured several sides at one size."""

    rows: pd.DataFrame
    """One row per round and side."""

    @cached_property
    def first(self) -> pd.Series:
        """The first row, for what all rows share."""
        return self.rows.iloc[0]

    @cached_property
    def speeds(self) -> pd.DataFrame:
        """Real tokens per second, a line per round and a column per side."""
        speeds = self.rows.assign(speed=self.rows["tokens"] / self.rows["seconds"])
        return speeds.pivot(index="round", columns="side", values="speed")

    @property
    def sides(self) -> list[str]:
        """The sides, in the order of the first round."""
        return [str(side) for side in self.rows["side"].unique()]

    @property
    def reference(self) -> str:
        """The side that all are compared with: the first of ``REFERENCES`` that was measured, else the first side."""
        return next((side for side in REFERENCES if side in self.sides), self.sides[0])

    @property
    def fastest_other(self) -> str | None:
        """The fastest code of others that was fed with the same batches; None if none was measured."""
        others = [side for side in self.sides if side not in (*OWN_SIDES, *OTHER_BATCHES)]
        return max(others, key=lambda side: self.speeds[side].median(), default=None)

    def of(self, side: str) -> pd.DataFrame:
        """Return the rounds of one side."""
        return self.rows[self.rows["side"] == side]

    def speedup(self, side: str) -> MedianInterval:
        """Return how many times as fast as ``side`` the reference is: the median over rounds, with its interval."""
        return median_interval(list(self.speeds[self.reference] / self.speeds[side]))

    def utilisation(self, side: str, number_format: str) -> float:
        """Return the model FLOP utilisation (Chowdhery et al. 2022, arXiv:2204.02311, appendix B), median of rounds.

        ::

            operations per real token × real tokens per second / operations per second of the machine's matrix product

        Padding, and all that a side computes beyond our network, count as waste.
        """
        rows = self.of(side)
        rates = rows[f"machine_{number_format}_gflops"] * 1e9
        return float((rows["flops_per_token"] * rows["tokens"] / rows["seconds"] / rates).median())

    @property
    def size(self) -> list[str]:
        """Layers, width and threads, as cells."""
        return [str(self.first[column]) for column in ("layers", "width", "threads")]


def settings_section(measured: list[SideRounds]) -> PageSection:
    """Return our speed and the fastest other code's, from one thread to many and from small to large."""
    columns = ["layers", "width", "threads", "our precision", "others'", "ours", "real tokens/s", "fastest other"]
    columns += ["real tokens/s", "ours ÷ other", *(f"ours ÷ {side}" for side in OTHER_BATCHES)]
    rows, medians = [], defaultdict[tuple[str, str], list[float]](list)
    for each in measured:
        ours, other = each.reference, each.fastest_other
        if ours not in REFERENCES or other is None:
            continue
        precisions = each.rows[~each.rows["side"].isin(OWN_SIDES)]["precision"].unique()
        sides = [cell for side in (ours, other) for cell in (side, f"{each.speeds[side].median():.0f}")]
        ratios = [spelled(each.speedup(side), 2) if side in each.speeds else EMPTY for side in (other, *OTHER_BATCHES)]
        precision = (str(each.of(ours)["precision"].iloc[0]), " and ".join(precisions))
        medians[precision].append(each.speedup(other).median)
        rows.append([*each.size, *precision, *sides, *ratios])
    found = [
        f"Ours in {own} trains {rounded(min(ratios), 2)} to {rounded(max(ratios), 2)} times as many real tokens per "
        f"second as the fastest other code in {others}, the median at each of {plural(len(ratios), 'size')}."
        for (own, others), ratios in medians.items()
    ]
    notes = [
        "*Ours* is a run as every grid makes it: `workers` are as many single-thread runs at once as there are "
        "threads, `lightning` is one. *Fastest other* is the fastest other implementation on the same length-grouped "
        "batches, as it comes. It trains in the precision of the column *others'*. It may drop attention probabilities "
        "too; ours drops the sublayers' outputs alone.",
        f"Ratios are of real tokens per second, within rounds. {joined(OTHER_BATCHES)} draw random batches, padded to "
        "their longest row and to 128 tokens. A measurement of few steps has fewer rows to group by length, so its "
        "batches hold more padding than an epoch's.",
    ]
    return PageSection("Ours and the fastest other code", found, TextTable(columns, rows), notes)


def sides_section(measured: list[SideRounds]) -> PageSection:
    """Return the speed of every side, with padding, memory, utilisation and the ratio to the reference."""
    columns = ["layers", "width", "threads", "side", "precision", "real tokens/s", "rows/s", "padding", "peak MiB"]
    columns += [*(f"MFU {short}" for short in NUMBER_FORMATS.values()), "compared", "compared ÷ side"]
    rows = []
    for each in measured:
        for side in each.sides:
            of = each.of(side)
            peak = of["peak_memory_mib"].max()
            rows.append(
                [
                    *(*each.size, side, of["precision"].iloc[0]),
                    f"{each.speeds[side].median():.0f}",
                    f"{(of['rows'] / of['seconds']).median():.0f}",
                    f"{(1 - of['tokens'] / of['positions']).median():.1%}",
                    EMPTY if pd.isna(peak) else f"{peak:.0f}",
                    *(f"{each.utilisation(side, name):.1%}" for name in NUMBER_FORMATS),
                    each.reference,
                    spelled(each.speedup(side), 2),
                ]
            )
    notes = [
        "The last column says how many times as fast as the side the *compared* one is, in real tokens per second "
        "within rounds. Training alone is timed. Peak memory is that of a process of its own, with interpreter, "
        "libraries and data. MFU, model FLOP utilisation, is the operations per real token times real tokens per "
        "second over the machine's rate below; padding counts as waste.",
    ]
    return PageSection("Every side", [], TextTable(columns, rows), notes)


def machine_section(measured: list[SideRounds]) -> PageSection | None:
    """Return what the sides were measured with: rounds, steps, operations per token, the machine's rates."""
    if not measured:
        return None
    columns = ["layers", "width", "threads", "variant", "batches of", "corpus", "rounds", "coverage", "steps"]
    columns += ["MFLOP per token", *(f"GFLOP/s {short}" for short in NUMBER_FORMATS.values()), "load average"]
    rows = []
    for each in measured:
        first = each.first
        rates = each.rows.drop_duplicates("round")
        rows.append(
            [
                *(*each.size, first["variant"], first["batch_size"], first["corpus"]),
                *(str(len(each.speeds)), coverage(len(each.speeds))),
                *(f"{first['steps']:.0f}", f"{first['flops_per_token'] / 1e6:.2f}"),
                *(f"{rates[f'machine_{name}_gflops'].median():.0f}" for name in NUMBER_FORMATS),
                first["load_average"],
            ]
        )
    notes = [
        "Each round measures every side once, in changing order. *Coverage* is how often such an interval holds the "
        f"true median. The machine multiplies two {MATRIX_SIZE}×{MATRIX_SIZE} matrices, measured in every round.",
        where(pd.concat([each.rows for each in measured])),
    ]
    return PageSection("How the sides were measured", [], TextTable(columns, rows), notes)


def pair_section(rows: pd.DataFrame) -> PageSection:
    """Return what one side costs over another: the median ratio of seconds, in interleaved pairs."""
    ours, theirs = rows["value"].iloc[0].split("/")
    seconds = rows.pivot(index="round", columns="side", values="seconds")
    ratio = median_interval(list(seconds[ours] / seconds[theirs]))
    first, table = rows.iloc[0], []
    for side in (ours, theirs):
        of = rows[rows["side"] == side]
        middle = of["seconds"].median()
        speed = (of["tokens"] / of["seconds"]).median()
        table.append([side, rounded(middle, 2), rounded(1000 * middle / first["steps"], 1), f"{speed:.0f}"])
    found = (
        f"{ours} takes {rounded(ratio.median)} times what {theirs} takes: median of "
        f"{plural(len(seconds), 'interleaved pair')}, interval [{rounded(ratio.low)}, {rounded(ratio.high)}] "
        f"(coverage {ratio.coverage:.1%})."
    )
    notes = [f"{size_of(first)}, {first['steps']:.0f} steps a measurement. Training alone is timed.", where(rows)]
    grid = TextTable(["side", "median seconds", "milliseconds per step", "real tokens per second"], table)
    return PageSection(f"What {ours} costs over {theirs}", [found], grid, notes)


def size_of(first: pd.Series) -> str:
    """Return variant, size, batches and precision of a measurement in words."""
    return (
        f"{first['variant']}, {plural(first['layers'], 'layer')}, width {first['width']}, batches of "
        f"{first['batch_size']} rows of {first['corpus']}, {plural(first['threads'], 'thread')}, {first['precision']}"
    )


def pool_section(rows: pd.DataFrame) -> PageSection:
    """Return how many runs per hour several workers make, and one."""
    rates = rows.pivot(index="round", columns="value", values="runs_per_hour")
    one, several = sorted(rows["value"].unique(), key=int)
    gain = median_interval(list(rates[several] / rates[one]))
    found = (
        f"{several} single-thread workers make {rounded(gain.median, 2)} times the runs per hour of one: median of "
        f"{plural(len(rates), 'round')}, which range from {rounded(gain.low, 2)} to {rounded(gain.high, 2)}."
    )
    table = [[workers, rounded(rates[workers].median(), 1)] for workers in (one, several)]
    first = rows.iloc[0]
    notes = [f"{size_of(first)}, whole runs of {first['steps']:.0f} steps.", where(rows)]
    return PageSection(
        "Runs per hour of several workers", [found], TextTable(["workers", "runs per hour"], table), notes
    )


def variants_section(rows: pd.DataFrame) -> PageSection:
    """Return the milliseconds of a training step of every variant, and their ratio to the reference within rounds."""
    timed = rows.assign(milliseconds=1000 * rows["seconds"] / rows["steps"])
    steps = timed.pivot(index="round", columns="value", values="milliseconds")
    names = list(rows["value"].unique())
    reference = REFERENCE_VARIANT if REFERENCE_VARIANT in names else names[0]
    title = VARIANTS[reference].title
    ratios = {name: median_interval(list(steps[name] / steps[reference])) for name in names}
    table = [
        [
            *(VARIANTS[name].title, VARIANTS[name].formula),
            spelled(median_interval(list(steps[name])), 1),
            spelled(ratios[name], 3),
        ]
        for name in names
    ]
    others = sorted((name for name in names if name != reference), key=lambda name: ratios[name].median)
    extremes = list(dict.fromkeys((others[0], others[-1])))
    told = [f"{spelled(ratios[name], 2)} times as long under {VARIANTS[name].title}" for name in extremes]
    everything = "" if len(extremes) == len(others) else "; all others lie between"
    first = rows.iloc[0]
    notes = [
        f"Medians of {plural(len(steps), 'round')}, each of which measures every variant once, in changing order, "
        f"{first['steps']:.0f} steps a measurement; coverage {coverage(len(steps))}. The last column is the ratio to "
        f"{title} within rounds, above 1 for a slower variant.",
        f"Runs as every grid makes them: {size_of(first).partition(', ')[2]}. All variants train on the same batches. "
        "Training alone is timed. All variants have one learning rate, which decides no time: how many steps a variant "
        "needs is another question.",
        where(rows),
    ]
    return PageSection(
        "One training step, variant by variant",
        [f"A training step takes {' and '.join(told)} as under {title}{everything}."],
        TextTable(["variant", "sublayer", "milliseconds per step", f"÷ {title}"], table),
        notes,
    )


def growth_section(measurements: pd.DataFrame) -> PageSection | None:
    """Return how seconds grow with each size, and how straight that growth is."""
    found = growth_along(measurements)
    if not found:
        return None
    rows = [
        [
            *(growth.axis.name, str(value), rounded(growth.median(value), 2)),
            *(rounded(value / growth.values[0], 1), rounded(growth.times(value), 2)),
        ]
        for growth in found
        for value in growth.values
    ]
    measured = measurements[measurements["axis"].isin([growth.axis.name for growth in found])]
    first = measured.iloc[0]
    setting = (
        f"Runs as every grid makes them ({first['variant']}, {plural(first['layers'], 'layer')}, width "
        f"{first['width']}, {plural(first['threads'], 'thread')}, {first['precision']}); medians of "
        f"{plural(int(measured['round'].max()), 'round')}. Depth, width, length and rows: training alone, "
        f"{first['steps']:.0f} steps of {first['batch_size']} generated rows of {LENGTH} tokens, but for what varies. "
        "Seeds: whole runs by one worker. Workers: the machine's seconds per whole run."
    )
    return PageSection(
        "How cost grows",
        [setting, "\n".join(f"- **{growth.axis.name}**: {growth.sentence}" for growth in found)],
        TextTable(["axis", "size", "seconds", "times the size", "times the seconds"], rows),
        [where(measured)],
    )


def memory_section(measured: pd.DataFrame) -> PageSection | None:
    """Return the peak memory of preparing and of training for growing numbers of rows."""
    if measured.empty:
        return None
    numbers = measured[["peak_memory_mib", "anonymous_mib", "seconds"]]
    rows = [
        [value, part, *(f"{cell:.0f}" for cell in cells)]
        for value, part, cells in zip(measured["value"], measured["side"], numbers.to_numpy(), strict=True)
    ]
    note = (
        "`resident_mib` is the peak of all resident memory (`VmHWM`), `anonymous_mib` the peak without pages of mapped "
        "files (`RssAnon`), in MiB, interpreter and libraries included. Preparing reads a Parquet file, cleans it, "
        "removes duplicates and near duplicates and tokenises. Training is one epoch of a tiny network with "
        f"validation, scores and record, from the filled cache. {EVALUATION_ROWS:,} more rows are for validation and "
        "as many for the test."
    )
    grid = TextTable(["rows", "part", "resident_mib", "anonymous_mib", "seconds"], rows)
    return PageSection("Memory as rows grow", [], grid, [note, where(measured)])
