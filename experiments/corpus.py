"""Look at a corpus before training on it: ``python -m experiments.corpus describe --data.corpus docstrings``.

Every flag of ``--data`` works as in ``experiments.train``; ``--config`` reads them from a YAML file.
"""

from __future__ import annotations

if not __package__:  # started by its path, where Python finds neither our packages nor its own `statistics`
    raise SystemExit("error: start it from the repository's folder with: python -m experiments.corpus")

import sys
from collections.abc import Sequence

from jsonargparse import ArgumentParser
from rich.console import Console
from rich.table import Table

from data_modules.config import DataConfig
from data_modules.describe import CorpusDescription, describe, flat_counts
from experiments.errors import readable_errors
from experiments.escaping import for_terminal
from experiments.planning.parser import StrictParser

MANY_UNKNOWN = 0.2
"""Share of unknown tokens from which the tokenizer is probably the wrong one."""


def build_parser() -> ArgumentParser:
    """Return the command line: the verb ``describe`` and the flags of the data."""
    describing = StrictParser(description="Show what a corpus holds once it is clean and split.")
    describing.add_argument("--config", action="config", help="YAML file with a section `data`.")
    describing.add_argument("--examples", type=int, default=3, help="Training rows to show of each class.")
    describing.add_class_arguments(DataConfig, "data")
    parser = StrictParser(prog="python -m experiments.corpus", description=__doc__)
    parser.add_subcommands().add_subcommand("describe", describing)
    return parser


def show(description: CorpusDescription, console: Console) -> None:
    """Print a description as tables."""
    corpus = description.corpus
    console.print(f"[bold]{for_terminal(corpus.slug)}[/bold]  source {for_terminal(corpus.source)}")
    console.print(f"fingerprint {corpus.fingerprint}  split hash {corpus.split_hash}", highlight=False)
    counts = Table("what was done", "count", title="Cleaning, duplicates and splits")
    for name, value in flat_counts(corpus.report):
        counts.add_row(for_terminal(name), for_terminal(value))
    console.print(counts)
    console.print(_classes(description))
    console.print(_lengths(description))
    unknown = max(description.unknown_rate.values())
    if unknown > MANY_UNKNOWN:
        console.print(
            f"[yellow]{unknown:.0%} of a split's tokens are unknown, so a network reads little of it. Text without "
            "spaces between words, such as Chinese, needs --data.tokenizer char.[/yellow]",
            highlight=False,
            soft_wrap=True,
        )
    overlaps = Table("splits", "exact duplicates", "near duplicates", "shared groups", title="Between splits")
    for pair, found in description.overlaps.items():
        overlaps.add_row(pair, *(str(found.get(kind, "not asked")) for kind in ("exact", "near", "groups")))
    console.print(overlaps)
    for name, texts in description.examples.items():
        console.print(f"[bold]{for_terminal(name)}[/bold]")
        for text in texts:
            console.print(f"  - {for_terminal(text)}", highlight=False)


def _classes(description: CorpusDescription) -> Table:
    splits = list(description.classes)
    table = Table("class", *splits, title="Rows")
    for name in description.corpus.class_names:
        table.add_row(for_terminal(name), *(str(description.classes[split][name]) for split in splits))
    table.add_row("all", *(str(len(description.corpus.splits[split])) for split in splits), style="bold")
    if description.groups:
        table.add_row("groups", *(str(description.groups.get(split, 0)) for split in splits))
    return table


def _lengths(description: CorpusDescription) -> Table:
    splits = list(description.lengths)
    table = Table("tokens of a row", *splits, title=f"Lengths; vocabulary of {description.vocabulary_size} tokens")
    for quantile in description.lengths[splits[0]]:
        table.add_row(f"quantile {quantile:g}", *(str(description.lengths[split][quantile]) for split in splits))
    table.add_row("truncated rows", *(f"{description.truncated[split]:.2%}" for split in splits))
    table.add_row("unknown tokens", *(f"{description.unknown_rate[split]:.2%}" for split in splits))
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = build_parser()
    with readable_errors():
        parsed = parser.parse_args(sys.argv[1:] if arguments is None else list(arguments))
        chosen = parser.instantiate(parsed).describe
        if not isinstance(chosen.data, DataConfig):
            chosen.data = DataConfig(**vars(chosen.data))
        show(describe(chosen.data, chosen.examples), Console())


if __name__ == "__main__":
    main()
