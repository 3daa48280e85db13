"""The one page of the benchmark, generated from its table: medians of rounds, ratios within rounds. Free of torch."""

from __future__ import annotations

import pandas as pd

from experiments.benchmark.growth import LENGTH, growth_along
from experiments.benchmark.page_parts import PageSection, coverage, notice, series_of, size_of, spelled, where
from experiments.benchmark.sides_page import (
    SideRounds,
    fair_section,
    machine_section,
    sides_section,
    usual_section,
)
from experiments.benchmark.table import EVALUATION_ROWS, TABLE_FILE
from experiments.reporting.render import EMPTY, TextTable, plural, rounded
from experiments.statistics.medians import median_interval
from lightning_modules.schemes.variants import VARIANTS

PAGE_FILE = "benchmark.md"
REFERENCE_VARIANT = "post_ln"
"""The variant that the others are compared with, if it was measured; else the first one is."""
RUNNERS = {
    "grid": "the grid runner",
    "scripts": "scripts one by one",
    "ray": "the engine ray",
}
"""Ways to make the same runs, in the order of the table."""


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
    rounds.sort(key=lambda each: tuple(each.first[["task", "threads", "processes", "layers", "width"]]))
    built: list[PageSection | None] = [fair_section(rounds), usual_section(rounds), sides_section(rounds)]
    built += [machine_section(rounds)]
    built += [pair_section(rows) for rows in series_of(measurements, "pair")]
    built += [pool_section(rows) for rows in series_of(measurements, "pool")]
    built += [runners_section(rows) for rows in series_of(measurements, "runner")]
    built += [variants_section(rows) for rows in series_of(measurements, "variant")]
    built += [profile_section(rows) for rows in series_of(measurements, "profile")]
    built += [growth_section(measurements), memory_section(measurements[measurements["axis"] == "memory"])]
    return [section for section in built if section and section.grid.rows]


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


def runners_section(rows: pd.DataFrame) -> PageSection:
    """Return runs per hour, idle workers and the time to a first result, by the way the runs were made."""
    rates = rows.pivot(index="round", columns="value", values="runs_per_hour")
    names = [name for name in RUNNERS if name in rates]
    table, found = [], []
    for name in names:
        of, ratio = rows[rows["value"] == name], rates[names[0]] / rates[name]
        compared = median_interval(list(ratio))
        table.append(
            [
                *(RUNNERS[name], str(of["processes"].iloc[0]), spelled(median_interval(list(rates[name])), 0)),
                *(f"{of['idle_share'].median():.0%}", rounded(of["first_seconds"].median(), 1)),
                *(spelled(compared, 2), notice(of, ratio) or EMPTY),
            ]
        )
        if name != names[0]:
            found.append(
                f"{RUNNERS[names[0]].capitalize()} makes {spelled(compared, 2)} times the runs per hour of "
                f"{RUNNERS[name]}."
            )
    first = rows.iloc[0]
    runs = round(first["runs_per_hour"] * first["seconds"] / 3600)
    notes = [
        f"{size_of(first)}; {plural(runs, 'run')} that differ in their seeds, {plural(len(rates), 'round')}. Every way "
        "is started as a command and ends with the same scores. *Idle* is the share of the workers' seconds, from the "
        "command to the last result, in which they make no run: starts, imports, waiting. *First result* is counted "
        "from the command.",
        *([f"Not measured: {', '.join(RUNNERS[name] for name in RUNNERS if name not in names)}."] * (len(names) < 3)),
        where(rows),
    ]
    columns = ["way", "workers", "runs per hour", "idle", "seconds to first result", "grid ÷ way", "notice"]
    return PageSection("The same runs by several ways", found, TextTable(columns, table), notes)


def profile_section(rows: pd.DataFrame) -> PageSection:
    """Return how a training step's time divides among kinds of operators, and the floor that the machine sets."""
    first, total = rows.iloc[0], rows["seconds"].sum()
    table = [
        [kind, rounded(1000 * seconds / first["steps"], 2), f"{seconds / total:.1%}"]
        for kind, seconds in zip(rows["value"], rows["seconds"], strict=True)
    ]
    narrow = str(first["precision"]).startswith("bf16")
    rate = first["machine_bfloat16_gflops" if narrow else "machine_float32_gflops"] * 1e9
    floor = 1000 * first["flops_per_token"] * first["positions"] / rate / first["steps"]
    found = [
        f"A step takes {rounded(1000 * total / first['steps'], 1)} ms under the profiler. At the machine's rate for "
        f"large matrices the products of our network alone would take {rounded(floor, 1)} ms, padding included."
    ]
    notes = [
        f"{first['side']}: {size_of(first)}. An operator counts by its own time, without those that it calls. The "
        "profiler slows small kernels down.",
        where(rows),
    ]
    grid = TextTable(["kind", "milliseconds per step", "share"], table)
    return PageSection(f"Where a step of {first['side']} goes", found, grid, notes)


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
