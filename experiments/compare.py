"""Compare two runs, or two conditions seed by seed: ``python -m experiments.compare A B [--rows 20]``.

A and B are run folders (``results/runs/GRID/CORPUS/CONDITION/CELL/seed_0``) or condition folders (without the seed:
then all seeds that both have are paired). It shows the metrics with their paired difference, and how many rows both,
one or neither got right. It also tells whether that is more than chance, and shows the rows on which they disagree.
"""

from __future__ import annotations

if not __package__:  # started by its path, where Python finds neither our packages nor its own `statistics`
    raise SystemExit("error: start it from the repository's folder with: python -m experiments.compare")

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jsonargparse import Namespace
from rich.console import Console
from rich.table import Table

from data_modules.errors import DataError
from experiments.errors import ExperimentError, readable_errors
from experiments.escaping import for_terminal, visible
from experiments.planning.parser import StrictParser, add_schemes_option, take_schemes
from lightning_modules.errors import ConfigurationError

if TYPE_CHECKING:
    from experiments.comparing import RunComparison, ScoredRun

LONGEST_TEXT = 200


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare and print; mistakes end with one line and status 2."""
    with readable_errors():
        parsed = parse(take_schemes(sys.argv[1:] if arguments is None else arguments))
        if parsed.rows < 0:
            raise ExperimentError(f"--rows is {parsed.rows}; it cannot be negative")
        compare(parsed.first, parsed.second, parsed.rows, Console())


def parse(arguments: Sequence[str]) -> Namespace:
    """Return the options of the command line."""
    parser = StrictParser(prog="python -m experiments.compare", description=__doc__)
    parser.add_argument("first", type=str, metavar="A", help="run folder or condition folder")
    parser.add_argument("second", type=str, metavar="B", help="run folder or condition folder")
    parser.add_argument("--rows", type=int, default=20, help="rows to show on which A and B disagree")
    add_schemes_option(parser)
    return parser.parse_args(list(arguments))


def compare(first: str, second: str, rows: int, console: Console) -> None:
    """Print the comparison of two runs or conditions."""
    from experiments.comparing import RunComparison, listed, pair_up, read_side
    from experiments.reporting.render import interval, plural
    from experiments.statistics.seeds import Spread

    sides = read_side(first), read_side(second)
    comparison = RunComparison(pair_up(*sides))
    run = comparison.pairs[0][0]
    for letter, side in zip("AB", sides, strict=True):
        console.print(visible(f"{letter}: {side.name}"), markup=False, highlight=False, soft_wrap=True)
        for sentence in side.left_out:
            console.print(visible(f"   left out: {sentence}"), markup=False, highlight=False, soft_wrap=True)
    about = f"{run.record.corpus}, {run.split} split, {len(comparison.rows)} rows"
    if sides[0].is_condition:
        about += f"; paired over {listed(pair[0].record.seed for pair in comparison.pairs)}"
    console.print(visible(about), markup=False, highlight=False)
    console.print(metrics_table(comparison))
    console.print(counts_table(comparison))
    test = comparison.row_test()
    counted = plural(test.units, test.unit)
    seeds = ", these trained weights given" if len(comparison.pairs) > 1 else ""
    console.print(
        f"Equally often right? {test.name}: {p_value(test.p_value)} ({counted} on which they differ{seeds})",
        highlight=False,
        soft_wrap=True,
    )
    over_rows = comparison.row_difference()
    if over_rows is not None:
        bounds = for_terminal(interval(Spread(1, low=over_rows.low, high=over_rows.high)))
        console.print(
            f"Macro F1, A − B on rows like these: 95 % bootstrap interval {bounds}, permutation "
            f"{p_value(over_rows.p_value)} (by {over_rows.unit})",
            highlight=False,
            soft_wrap=True,
        )
    show_disagreements(comparison, rows, console)


def metrics_table(comparison: RunComparison) -> Table:
    """Return the metrics of both sides and the paired difference, with its t-interval over seeds, if any."""
    from experiments.reporting.render import interval, mean_and_sd, rounded

    paired = len(comparison.pairs) > 1
    table = Table("metric", "A", "B", "A − B", *(("95 % interval", "sign flips") if paired else ()), box=None)
    for row in comparison.metrics():
        cells = [mean_and_sd(row.first), mean_and_sd(row.second), rounded(row.difference.mean, 4)]
        if row.p_value is not None:
            cells += [for_terminal(interval(row.difference)), p_value(row.p_value)]
        table.add_row(row.metric.title, *cells)
    return table


def counts_table(comparison: RunComparison) -> Table:
    """Return by class how many rows both, one or neither side got right."""
    pairs = len(comparison.pairs)
    title = "rows by who is right" + (f", summed over {pairs} seeds" if pairs > 1 else "")
    table = Table("true class", "both", "only A", "only B", "neither", title=title, title_justify="left", box=None)
    counts = comparison.counts()
    for name, row in counts.iterrows():
        table.add_row(for_terminal(str(name)), *(str(count) for count in row))
    table.add_row("all", *(str(count) for count in counts.sum()), style="bold")
    return table


def show_disagreements(comparison: RunComparison, rows: int, console: Console) -> None:
    """Print rows on which the sides answer differently, with their texts where these can be had."""
    found = comparison.disagreements()
    shown = found.head(rows)
    console.print(
        f"They answer {len(found)} rows differently; the {len(shown)} most confident ones:"
        if len(shown)
        else f"They answer {len(found)} rows differently.",
        highlight=False,
    )
    if not len(shown):
        return
    texts: list[str] | None = None
    try:
        with console.status("looking up the texts"):
            texts = texts_of(comparison.pairs[0][0])
    except (DataError, ConfigurationError, ExperimentError) as error:
        console.print(f"without their texts: {error}", markup=False, highlight=False, soft_wrap=True)
    classes = comparison.classes
    table = Table("row", *(["text"] if texts else []), "true", "A", "B", show_lines=texts is not None)
    for _, row in shown.iterrows():
        index, true, first, second = (int(row[name]) for name in ("row", "label", "first", "second"))
        text = [for_terminal(shorten(texts[index]))] if texts else []
        answers = (
            f"{classes[first]} {row['first_probability']:.2f}",
            f"{classes[second]} {row['second_probability']:.2f}",
        )
        table.add_row(str(index), *text, for_terminal(classes[true]), *(for_terminal(answer) for answer in answers))
    console.print(table)


def texts_of(run: ScoredRun) -> list[str]:
    """Return the texts of the split that a run predicted.

    Raises:
        ExperimentError, DataError, ConfigurationError: if the corpus cannot be had, or is no longer the same.
    """
    from data_modules.cleaning.prepared import prepare
    from experiments.planning.saved_runs import load_run_config

    corpus = prepare(load_run_config(run.folder).data)
    if (corpus.fingerprint, corpus.split_hash) != (run.record.data["fingerprint"], run.record.data["split_hash"]):
        raise ExperimentError(f"the corpus {corpus.slug} has changed since {run.folder} was made")
    return corpus.splits[run.split]["text"][:]


def shorten(text: str) -> str:
    """Return a text for a table cell, cut after 200 characters."""
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"


def p_value(value: float) -> str:
    """Return ``p = 0.012``, or ``p < 0.001`` for what is smaller."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


if __name__ == "__main__":
    main()
