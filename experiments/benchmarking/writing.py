"""What the benchmark prints and writes: every pair as CSV, and a page with the medians. Free of torch."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

from experiments.benchmarking.pairs import MedianInterval, Pair, median_interval
from experiments.benchmarking.workers import Rates
from experiments.planning.run_config import RunConfig
from experiments.reporting.render import Grid, number, rounded, to_csv, to_markdown
from experiments.runs.files import write_atomically
from experiments.runs.provenance import processor_name

PACKAGES = ("torch", "lightning", "numpy")
PEER_PACKAGES = ("transformers", "accelerate", "x-transformers")


@dataclass(frozen=True)
class Benchmark:
    """A finished benchmark of two sides and, where they were measured, of workers."""

    names: tuple[str, str]
    """The side in question, and the one it is measured against."""
    config: RunConfig
    steps: int
    pairs: Sequence[Pair]
    rates: Sequence[Rates]
    machine: dict[str, str]

    @property
    def title(self) -> str:
        """Name of the files: ``lightning_overhead`` against the plain loop."""
        ours, theirs = self.names
        return f"{ours}_overhead" if theirs == "plain" else f"{ours}_against_{theirs}"

    @property
    def ratio(self) -> MedianInterval:
        """Median of the pairs' ratios."""
        return median_interval([pair.ratio for pair in self.pairs])


def machine(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Return processor, cores, date and the packages' versions, empty where one is not installed.

    The load average tells how busy the machine was with other work.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "date": date.today().isoformat(),
        "cpu": processor_name(),
        "cores": str(cores),
        "load_average": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        **{package: installed_version(package) for package in packages},
    }


def installed_version(package: str) -> str:
    """Return a package's version; nothing where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def where(about: Mapping[str, str]) -> str:
    """Return what :func:`machine` found as a sentence."""
    general = ("date", "cpu", "cores", "load_average")
    versions = ", ".join(f"{name} {value}" for name, value in about.items() if value and name not in general)
    return (
        f"{about['cpu']}, {about['cores']} cores; load average at the start {about['load_average']}; {versions}; "
        f"{about['date']}."
    )


def pairs_grid(benchmark: Benchmark) -> Grid:
    """Return one row per pair, the machine on every row, so that files can be put together."""
    ours, theirs = benchmark.names
    columns = ["pair", "first", f"{ours}_seconds", f"{theirs}_seconds", "ratio", "steps", "tokens", *benchmark.machine]
    rows = [
        [
            str(pair.number),
            pair.first,
            *(number(seconds) for seconds in pair.seconds),
            number(pair.ratio),
            str(benchmark.steps),
            str(pair.tokens[0]),
            *benchmark.machine.values(),
        ]
        for pair in benchmark.pairs
    ]
    return Grid(columns, rows)


def rates_grid(benchmark: Benchmark) -> Grid:
    """Return one row per round of the workers' figure."""
    columns = ["round", "workers", "runs_per_hour_of_one", "runs_per_hour_together", "ratio", *benchmark.machine]
    rows = [
        [
            str(rates.round),
            str(rates.workers),
            number(rates.alone, 1),
            number(rates.together, 1),
            number(rates.ratio),
            *benchmark.machine.values(),
        ]
        for rates in benchmark.rates
    ]
    return Grid(columns, rows)


def sides_table(benchmark: Benchmark) -> Grid:
    """Return the medians of both sides."""
    rows = []
    for index, name in enumerate(benchmark.names):
        seconds = median(pair.seconds[index] for pair in benchmark.pairs)
        speed = median(pair.tokens[index] / pair.seconds[index] for pair in benchmark.pairs)
        rows.append([name, rounded(seconds, 2), rounded(1000 * seconds / benchmark.steps, 1), f"{speed:.0f}"])
    return Grid(["side", "median seconds", "milliseconds per step", "real tokens per second"], rows)


def sentences(benchmark: Benchmark) -> list[str]:
    """Return what was found, in words."""
    ours, theirs = benchmark.names
    ratio = benchmark.ratio
    found = [
        f"{ours} takes {rounded(ratio.median)} times what {theirs} takes: median of {len(benchmark.pairs)} "
        f"interleaved pairs, interval [{rounded(ratio.low)}, {rounded(ratio.high)}] from order statistics "
        f"(coverage {ratio.coverage:.1%})."
    ]
    if benchmark.rates:
        gain = median_interval([rates.ratio for rates in benchmark.rates])
        found.append(
            f"{benchmark.rates[0].workers} single-thread workers make {rounded(gain.median, 2)} times the runs per "
            f"hour of one: median of {len(benchmark.rates)} rounds, which range from {rounded(gain.low, 2)} to "
            f"{rounded(gain.high, 2)}."
        )
    return found


def page(benchmark: Benchmark) -> str:
    """Return the result as Markdown."""
    model, data = benchmark.config.model, benchmark.config.data
    setting = (
        f"{model.variant}, {model.layers} layers, width {model.width}, batches of {data.batch_size} rows of "
        f"{data.slug}, {benchmark.steps} steps a measurement, threads {benchmark.config.threads}. "
        "Training alone is timed: no corpus is built and nothing validated while the clock runs."
    )
    parts = [
        f"# {benchmark.title.replace('_', ' ').capitalize()}",
        "\n\n".join(sentences(benchmark)),
        to_markdown(sides_table(benchmark)).rstrip(),
        setting,
        where(benchmark.machine),
    ]
    return "\n\n".join(parts) + "\n"


def write(benchmark: Benchmark, folder: Path) -> list[Path]:
    """Write the pairs, the workers' rounds where there are any, and the page; return their paths."""
    contents = {f"{benchmark.title}.csv": to_csv(pairs_grid(benchmark)), f"{benchmark.title}.md": page(benchmark)}
    if benchmark.rates:
        contents["workers.csv"] = to_csv(rates_grid(benchmark))
    for name, content in contents.items():
        write_atomically(folder / name, content.encode())
    return [folder / name for name in contents]
