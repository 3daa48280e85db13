"""The growth of cost as CSV, one row per measurement, and as a page with table and figure. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from experiments.benchmarking.growth import LENGTH, Growth
from experiments.benchmarking.writing import where
from experiments.planning.run_config import RunConfig
from experiments.reporting.panels import make_panels
from experiments.reporting.render import Grid, number, plural, rounded, to_csv, to_markdown
from experiments.reporting.style import GREY, PALETTE, headline, save_png, settings
from experiments.runs.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def growth_grid(found: Sequence[Growth]) -> Grid:
    """Return the table for reading: one row per axis and size."""
    rows = []
    for growth in found:
        first = growth.values[0]
        for value in growth.values:
            times = growth.median(value) / growth.median(first)
            seconds, size = growth.median(value), value / first
            rows.append([growth.axis.name, str(value), rounded(seconds, 2), rounded(size, 1), rounded(times, 2)])
    return Grid(["axis", "size", "seconds", "times the size", "times the seconds"], rows)


def measurements_grid(found: Sequence[Growth], config: RunConfig, about: Mapping[str, str]) -> Grid:
    """Return one row per measurement, with setting and machine on every row."""
    model = config.model
    fixed = {"variant": model.variant, "layers": str(model.depth), "width": str(model.width)}
    fixed |= {"precision": config.trainer.precision, "threads": str(config.threads), **about}
    rows = [
        [growth.axis.name, str(value), str(index), number(seconds), *fixed.values()]
        for growth in found
        for value in growth.values
        for index, seconds in enumerate(growth.seconds[value], start=1)
    ]
    return Grid(["axis", "size", "round", "seconds", *fixed], rows)


def sentence(growth: Growth) -> str:
    """Return what was found along an axis, beside what was expected."""
    line = "a line in 1/size" if growth.axis.inverse else "a line"
    fits = f"{line} fits within {growth.deviation:.0%}"
    if not growth.is_straight:
        fits = f"{line} misses by up to {growth.deviation:.0%}"
    first, last = growth.values[0], growth.values[-1]
    times = growth.median(last) / growth.median(first)
    return (
        f"{last / first:.0f} times the {growth.axis.unit} take {times:.2f} times the seconds (exponent "
        f"{rounded(growth.exponent, 2)}); {fits}. {growth.axis.expected}"
    )


def growth_figure(found: Sequence[Growth]) -> Figure:
    """Draw seconds against size, one panel per axis, every round a dot and the medians a line, both scales log."""
    import matplotlib

    with matplotlib.rc_context(settings()):
        figure, panels = make_panels(len(found), width=3.2, height=2.5, share=False)
        for panel, growth in zip(panels, found, strict=True):
            draw(panel, growth)
        headline(figure, "Seconds against size: rounds (dots), medians (line), proportional growth (dashes)")
    return figure


def draw(panel: Axes, growth: Growth) -> None:
    """Draw one axis."""
    values = growth.values
    for value in values:
        panel.plot([value] * len(growth.seconds[value]), growth.seconds[value], "o", color=PALETTE[0], alpha=0.4, ms=4)
    panel.plot(values, [growth.median(value) for value in values], "-", color=PALETTE[0])
    power = -1 if growth.axis.inverse else 1
    start = growth.median(values[0])
    panel.plot(values, [start * (value / values[0]) ** power for value in values], "--", color=GREY, lw=1)
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    panel.set_xticks(values, [f"{value:,}" for value in values])
    panel.minorticks_off()
    ticks = ticks_within(*panel.get_ylim())
    panel.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    panel.set_xlabel(growth.axis.unit)
    panel.set_ylabel("seconds per run" if growth.axis.inverse else "seconds")
    panel.set_title(growth.axis.name)


def ticks_within(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten from ``low`` to ``high``; every multiple where these are fewer than two."""
    for digits in ((1, 2, 5), range(1, 10)):
        ticks = [digit * 10.0**power for power in range(-2, 4) for digit in digits]
        found = [tick for tick in ticks if low <= tick <= high]
        if len(found) > 1:
            break
    return found


def page(found: Sequence[Growth], config: RunConfig, options: Namespace, about: Mapping[str, str]) -> str:
    """Return the result as Markdown."""
    model = config.model
    setting = (
        f"Runs as every grid makes them ({model.variant}, {plural(model.depth, 'layer')}, width {model.width}, "
        f"{plural(config.threads, 'thread')}, {config.trainer.precision}); medians of "
        f"{plural(options.rounds, 'round')}. Depth, width, length and rows: training alone, {options.steps} steps of "
        f"{config.data.batch_size} generated rows of {LENGTH} tokens, but for what varies. Seeds: whole runs by one "
        "worker. Workers: the machine's seconds per whole run."
    )
    found_lines = "\n".join(f"- **{growth.axis.name}**: {sentence(growth)}" for growth in found)
    parts = ["# How cost grows", setting, found_lines, "![Seconds against size](growth.png)"]
    parts += [to_markdown(growth_grid(found)).rstrip(), where(about)]
    return "\n\n".join(parts) + "\n"


def write(
    found: Sequence[Growth], config: RunConfig, options: Namespace, about: Mapping[str, str], folder: Path
) -> list[Path]:
    """Write measurements, page and figure; return their paths."""
    texts = {
        "growth.csv": to_csv(measurements_grid(found, config, about)),
        "growth.md": page(found, config, options, about),
    }
    for name, content in texts.items():
        write_atomically(folder / name, content.encode())
    return [*(folder / name for name in texts), save_png(growth_figure(found), folder / "growth.png")]
