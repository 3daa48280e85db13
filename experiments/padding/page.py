"""What padding does as CSV, one row per run and arrangement, and as a page with table and figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from experiments.padding.arrangements import MORE_COLUMNS, more
from experiments.padding.figure import padding_figure
from experiments.padding.measure import RunEffects
from experiments.padding.networks import Network, finding, networks_of
from experiments.reporting.render import Grid, mean_and_sd, number, rounded, to_csv, to_markdown
from experiments.reporting.style import save_png
from experiments.runs.files import write_atomically

NAME = "padding_leak"
"""Files are called so, with the ending of their format."""


def runs_grid(runs: Sequence[RunEffects]) -> Grid:
    """Return one row per run and arrangement, shares as fractions."""
    rows = [
        [
            *(run.name, run.condition, run.corpus, str(run.rows), effect.arrangement),
            *(number(value) for value in (effect.padding, effect.padded_otherwise, effect.changed)),
            str(effect.classes),
            *(number(value) for value in (effect.macro_f1, effect.f1_difference)),
            f"{effect.largest_change:.3e}",
        ]
        for run in runs
        for effect in run.effects
    ]
    about = ["run", "condition", "corpus", "rows", "batches", "padding", "padded_otherwise"]
    return Grid([*about, "changed", "classes", "macro_f1", "f1_difference", "largest_change"], rows)


def network_grid(network: Network) -> Grid:
    """Return the table of one network: a row per arrangement, mean ± standard deviation over runs."""
    columns = ["batches", "padding", "changed rows", "classes", "macro F1", "Δ macro F1", "largest"]
    return Grid(columns, [row_of(network, arrangement) for arrangement in network.arrangements])


def row_of(network: Network, arrangement: str) -> list[str]:
    """Return the cells of an arrangement; what is no score is the mean alone."""
    return [
        arrangement,
        rounded(network.spread(arrangement, "padding").mean, 1),
        mean_and_sd(network.spread(arrangement, "changed")),
        rounded(network.spread(arrangement, "classes").mean, 1),
        mean_and_sd(network.spread(arrangement, "macro_f1")),
        mean_and_sd(network.spread(arrangement, "f1_difference")),
        f"{network.largest_change(arrangement):.1e}".replace("-", "−"),
    ]


def networks_grid(networks: Sequence[Network]) -> Grid:
    """Return the tables of all networks as one."""
    rows = [[network.label, *row] for network in networks for row in network_grid(network).rows]
    return Grid(["variant", *network_grid(networks[0]).columns], rows)


def notes(runs: Sequence[RunEffects]) -> list[str]:
    """Return how the table is to be read."""
    longest = " or ".join(str(length) for length in sorted({run.longest for run in runs}))
    lengthened = next(effect for effect in runs[0].effects if effect.arrangement == more(MORE_COLUMNS[0]))
    return [
        f"The chosen checkpoint of every run answers the {runs[0].rows:,} test rows in float32, in different batches: "
        "*as tested* rows of similar length stand together, padded to the longest; *+8 columns* and so on are these "
        "batches, every one padded further, masked as all padding is; *alone* every row is a batch of its own, without "
        f"padding. Position embeddings end at {longest} columns, so no batch is padded beyond: long ones get fewer "
        f"columns, and {100 * (1 - lengthened.padded_otherwise):.1f} % of the rows, which stand in the longest, none.",
        "*Padding* is the mean number of padding columns in a row. *Changed rows* is the share of all rows whose "
        "predicted class is another one than as tested, *classes* the number of classes that any row is given, "
        "*largest* the greatest difference of any class's probability from that as tested, in any row of any run; "
        "scores are mean ± standard deviation over runs. A network that keeps its padding apart changes no row, and "
        "its probabilities by rounding alone.",
    ]


def page(runs: Sequence[RunEffects]) -> str:
    """Return the result as Markdown."""
    networks = networks_of(runs)
    parts = [
        f"# What padding does to the answers: {runs[0].corpus}",
        finding(networks),
        to_markdown(networks_grid(networks)).rstrip(),
        f"![{finding(networks)}]({NAME}.png)",
        *notes(runs),
    ]
    return "\n\n".join(parts) + "\n"


def write(runs: Sequence[RunEffects], folder: Path) -> list[Path]:
    """Write table, page and figure; return their paths."""
    texts = {f"{NAME}.csv": to_csv(runs_grid(runs)), f"{NAME}.md": page(runs)}
    for name, content in texts.items():
        write_atomically(folder / name, content.encode())
    return [*(folder / name for name in texts), save_png(padding_figure(networks_of(runs)), folder / f"{NAME}.png")]
