"""Tables in the terminal, and what was written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from experiments.reporting.findings import findings
from experiments.reporting.render import Grid, interval, mean_and_sd, rounded
from experiments.reporting.rows import Description, make_rows
from experiments.runs.store import Evidence


def print_result(evidence: Evidence, description: Description, written: Sequence[Path], console: Console) -> None:
    """Print the scores of every condition, what they say, and the files that were written."""
    rows = make_rows(evidence, description)
    corpus = evidence.finals[0].corpus if evidence.finals else ""
    title = f"{escape(description.title)}: {corpus} (test split)"
    table = RichTable(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("variant", min_width=12)
    for name in ("norms", "skips", "outcome", "accuracy", "macro F1", "95 % interval"):
        table.add_column(name, justify="left" if name == "outcome" else "right", no_wrap=True)
    for row in rows:
        endings = {status: row.count(status) for status in ("trained", "collapsed", "diverged", "failed")}
        table.add_row(
            escape(row.label),
            *(str(row.fact(name)) for name in ("norms", "skips")),
            "\n".join(f"{count} {status}" for status, count in endings.items() if count),
            rounded(row.test("accuracy").mean),
            mean_and_sd(row.test("macro_f1")),
            interval(row.test("macro_f1")).replace("[", r"\["),
        )
    console.print(table)
    for sentence in findings(rows):
        console.print(f"• {escape(sentence)}", highlight=False)
    if written:
        beside = ", ".join(str(path.relative_to(written[0].parent)) for path in written[1:])
        console.print(f"wrote {beside} and {written[0]}", markup=False, highlight=False, soft_wrap=True)


def printed(grid: Grid) -> RichTable:
    """Return a table for the terminal."""
    table = RichTable(box=None, pad_edge=False, collapse_padding=True)
    first, last = grid.columns[0], grid.columns[-1]
    for column in grid.columns:
        table.add_column(column, overflow="fold", no_wrap=column in (first, last))  # no figure is cut off
    for row in grid.rows:
        table.add_row(*row)
    return table
