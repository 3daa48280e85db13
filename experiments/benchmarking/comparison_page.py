"""The comparison of all sides as CSV, one row per round and side, and as a page with one table. Free of torch."""

from __future__ import annotations

from pathlib import Path

from experiments.benchmarking.comparison import Comparison
from experiments.benchmarking.writing import where
from experiments.reporting.render import EMPTY, Grid, number, plural, rounded, to_csv, to_markdown
from experiments.runs.files import write_atomically

NUMBER_FORMATS = {"float32": "fp32", "bfloat16": "bf16"}
"""Formats in which the machine's rate is measured, and how the table's head calls them."""


def title(comparison: Comparison) -> str:
    """Return the name of the files, such as ``sides+width=128+layers=6+threads=2+precision=32-true``."""
    model, config = comparison.config.model, comparison.config
    return (
        f"sides+width={model.width}+layers={model.depth}+threads={config.threads}+precision={config.trainer.precision}"
    )


def rounds_grid(comparison: Comparison) -> Grid:
    """Return one row per round and side, in the order of measurement, with setting and machine on every row."""
    config = comparison.config
    about = {
        "flops_per_token": str(comparison.flops_per_token),
        "variant": config.model.variant,
        "layers": str(config.model.depth),
        "width": str(config.model.width),
        "corpus": config.data.slug,
        "batch_size": str(config.data.batch_size),
        "threads": str(config.threads),
        **comparison.machine,
    }
    measured = ["round", "side", "seconds", "steps", "rows", "tokens", "positions", "tokens_per_second"]
    derived = ["rows_per_second", f"{comparison.reference}_speedup", "peak_memory_mib", "precision"]
    rates = [f"machine_{name}_gflops" for name in NUMBER_FORMATS]
    rows = []
    for index, each in enumerate(comparison.rounds):
        for side, timing in each.timings.items():
            counts = (timing.steps, timing.rows, timing.tokens, timing.positions)
            rows.append(
                [
                    str(each.number),
                    side,
                    number(timing.seconds),
                    *map(str, counts),
                    number(timing.tokens_per_second, 1),
                    number(timing.rows_per_second, 1),
                    number(comparison.speedups(side)[index]),
                    number(comparison.peak_memory.get(side), 1),
                    comparison.precision(side),
                    *(number(each.machine_rates[name] / 1e9, 1) for name in NUMBER_FORMATS),
                    *about.values(),
                ]
            )
    return Grid([*measured, *derived, *rates, *about], rows)


def sides_grid(comparison: Comparison) -> Grid:
    """Return the table for reading: one row per side."""
    columns = ["side", "real tokens/s", "rows/s", "padding", "peak MiB"]
    columns += [f"MFU {short}" for short in NUMBER_FORMATS.values()] + [f"{comparison.reference} ÷ side"]
    rows = []
    for side in comparison.names:
        peak, speedup = comparison.peak_memory.get(side), comparison.speedup(side)
        rows.append(
            [
                side,
                f"{comparison.tokens_per_second(side):.0f}",
                f"{comparison.rows_per_second(side):.0f}",
                f"{comparison.padding(side):.1%}",
                EMPTY if peak is None else f"{peak:.0f}",
                *(f"{comparison.utilisation(side, name):.1%}" for name in NUMBER_FORMATS),
                f"{rounded(speedup.median, 2)} [{rounded(speedup.low, 2)}, {rounded(speedup.high, 2)}]",
            ]
        )
    return Grid(columns, rows)


def notes(comparison: Comparison) -> list[str]:
    """Return how the table is to be read."""
    size, config, count = comparison.matrix_size, comparison.config, len(comparison.rounds)
    coverage = comparison.speedup(comparison.reference).coverage
    rates = " and ".join(f"{comparison.machine_rate(name) / 1e9:.0f} GFLOP/s in {name}" for name in NUMBER_FORMATS)
    steps = comparison.rounds[0].timings[comparison.names[0]].steps
    return [
        f"Medians of {plural(count, 'round')}, each of which measures every side once, in changing order, {steps} "
        f"steps a measurement. The last column says how many times as fast as the side {comparison.reference} is "
        "(real tokens per second): the median of the ratios within rounds, with its interval from order statistics "
        f"(coverage {coverage:.1%}).",
        f"{config.model.variant}, {plural(config.model.depth, 'layer')}, width {config.model.width}, batches of "
        f"{config.data.batch_size} rows of {config.data.slug}, threads {config.threads}. {precisions(comparison)}. "
        "Training alone is timed.",
        f"The machine multiplies two {size}×{size} matrices at {rates}, measured in every round. MFU, model FLOP "
        f"utilisation, is {comparison.flops_per_token / 1e6:.2f} MFLOP per real token times real tokens per second "
        "over that rate.",
        "Peak memory is that of a process of its own, with interpreter, libraries and data.",
    ]


def precisions(comparison: Comparison) -> str:
    """Return which sides trained in which precision."""
    by_precision: dict[str, list[str]] = {}
    for side in comparison.names:
        by_precision.setdefault(comparison.precision(side), []).append(side)
    if len(by_precision) == 1:
        return f"All sides in {next(iter(by_precision))}"
    return "In " + "; in ".join(f"{precision}: {', '.join(sides)}" for precision, sides in by_precision.items())


def page(comparison: Comparison) -> str:
    """Return the result as Markdown."""
    parts = [
        "# Training speed by side",
        to_markdown(sides_grid(comparison)).rstrip(),
        *notes(comparison),
        where(comparison.machine),
    ]
    return "\n\n".join(parts) + "\n"


def write(comparison: Comparison, folder: Path) -> list[Path]:
    """Write rounds and page; return their paths."""
    name = title(comparison)
    contents = {f"{name}.csv": to_csv(rounds_grid(comparison)), f"{name}.md": page(comparison)}
    for file, content in contents.items():
        write_atomically(folder / file, content.encode())
    return [folder / file for file in contents]
