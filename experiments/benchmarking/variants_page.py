"""The steps of the variants as CSV, one row per round and variant, and as a page with table and figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from experiments.benchmarking.pairs import MedianInterval
from experiments.benchmarking.variants import VariantTimes
from experiments.benchmarking.writing import where
from experiments.reporting.panels import make_panels
from experiments.reporting.render import Grid, number, plural, rounded, to_csv, to_markdown
from experiments.reporting.style import GREY, headline, look_of, save_png, settings
from experiments.runs.files import write_atomically
from lightning_modules.schemes.variants import VARIANTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def rounds_grid(times: VariantTimes) -> Grid:
    """Return one row per round and variant, in the order of measurement, with setting and machine on every row."""
    config = times.config
    about = {
        "layers": str(config.model.depth),
        "width": str(config.model.width),
        "corpus": config.data.slug,
        "batch_size": str(config.data.batch_size),
        "precision": config.trainer.precision,
        "threads": str(config.threads),
        **times.machine,
    }
    rows = [
        [
            *(str(each.number), name, number(timing.seconds), str(timing.steps), str(timing.tokens)),
            number(times.milliseconds(name)[index]),
            number(times.ratios(name)[index]),
            *about.values(),
        ]
        for index, each in enumerate(times.rounds)
        for name, timing in each.timings.items()
    ]
    measured = ["round", "variant", "seconds", "steps", "tokens", "milliseconds_per_step"]
    return Grid([*measured, f"over_{times.reference}", *about], rows)


def variants_grid(times: VariantTimes) -> Grid:
    """Return the table for reading: one row per variant."""
    rows = [
        [VARIANTS[name].title, VARIANTS[name].formula, spelled(times.step(name), 1), spelled(times.ratio(name), 3)]
        for name in times.names
    ]
    return Grid(["variant", "sublayer", "milliseconds per step", f"÷ {VARIANTS[times.reference].title}"], rows)


def spelled(found: MedianInterval, digits: int) -> str:
    """Return ``17.2 [17.0, 17.5]``."""
    return f"{rounded(found.median, digits)} [{rounded(found.low, digits)}, {rounded(found.high, digits)}]"


def finding(times: VariantTimes) -> str:
    """Return how far the fastest and the slowest other variant are from the reference, in one sentence."""
    by_ratio = sorted(times.others, key=lambda name: times.ratio(name).median)
    extremes = dict.fromkeys((by_ratio[0], by_ratio[-1]))
    said = [f"{spelled(times.ratio(name), 2)} times as long under {VARIANTS[name].title}" for name in extremes]
    everything = "" if len(extremes) == len(times.others) else "; all others lie between"
    return f"A training step takes {' and '.join(said)} as under {VARIANTS[times.reference].title}{everything}."


def notes(times: VariantTimes) -> list[str]:
    """Return how the table is to be read."""
    config, count = times.config, len(times.rounds)
    coverage = times.step(times.reference).coverage
    return [
        f"Medians of {plural(count, 'round')}, each of which measures every variant once, in changing order, "
        f"{times.steps} steps a measurement; intervals are from order statistics (coverage {coverage:.1%}). The last "
        f"column is the ratio to {VARIANTS[times.reference].title} within rounds, above 1 where the variant is slower.",
        f"Runs as every grid makes them: {plural(config.model.depth, 'layer')}, width {config.model.width}, the same "
        f"batches of {config.data.batch_size} rows of {config.data.slug} for all, {plural(config.threads, 'thread')}, "
        f"{config.trainer.precision}. Training alone is timed. All variants have one learning rate, which decides no "
        "time: how many steps a variant needs is another question.",
    ]


def variants_figure(times: VariantTimes) -> Figure:
    """Draw milliseconds per step and their ratio, every round a dot, medians with their interval."""
    import matplotlib

    with matplotlib.rc_context(settings()):
        figure, (left, right) = make_panels(2, width=3.6, height=0.6 + 0.36 * len(times.names), share=False)
        for place, name in enumerate(times.names):
            draw(left, place, name, times.milliseconds(name), times.step(name))
            draw(right, place, name, times.ratios(name), times.ratio(name))
        for axes in (left, right):
            axes.set_ylim(len(times.names) - 0.5, -0.5)
            axes.grid(visible=False, axis="y")
        right.axvline(1, color=GREY, lw=0.8, ls="--", zorder=1)
        left.set_yticks(range(len(times.names)), [VARIANTS[name].title for name in times.names])
        right.set_yticks([])
        left.set_xlabel("milliseconds per step")
        right.set_xlabel(f"ratio to {VARIANTS[times.reference].title}, within rounds")
        headline(figure, f"{finding(times)} Dots: rounds; diamonds: medians with interval.")
    return figure


def draw(axes: Axes, place: int, name: str, values: list[float], found: MedianInterval) -> None:
    """Draw a variant's line of a panel."""
    color = look_of(name).color
    axes.plot(values, [place + 0.16] * len(values), "o", color=color, alpha=0.4, ms=4, mew=0)
    axes.plot([found.low, found.high], [place - 0.12] * 2, color=color, lw=2, solid_capstyle="butt")
    axes.plot(found.median, place - 0.12, "D", color=color, ms=5, mec="white", mew=0.6)


def page(times: VariantTimes) -> str:
    """Return the result as Markdown."""
    parts = [
        "# One training step, variant by variant",
        finding(times),
        f"![{finding(times)}](variants.png)",
        to_markdown(variants_grid(times)).rstrip(),
        *notes(times),
        where(times.machine),
    ]
    return "\n\n".join(parts) + "\n"


def write(times: VariantTimes, folder: Path) -> list[Path]:
    """Write rounds, page and figure; return their paths."""
    texts = {"variants.csv": to_csv(rounds_grid(times)), "variants.md": page(times)}
    for name, content in texts.items():
        write_atomically(folder / name, content.encode())
    return [*(folder / name for name in texts), save_png(variants_figure(times), folder / "variants.png")]
