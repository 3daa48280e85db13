"""Tables in the terminal, and the names of the files that were written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.table import Table as RichTable

from experiments.escaping import for_terminal
from experiments.reporting.frame import Description, make_rows
from experiments.reporting.render import TextTable, interval, mean_and_sd
from experiments.reporting.sentences import budget, findings
from experiments.runs.record import Status
from experiments.runs.store import Evidence


def print_result(evidence: Evidence, description: Description, written: Sequence[Path], console: Console) -> None:
    """Print the scores of every condition, what they say, and the files that were written."""
    rows = make_rows(evidence, description)
    metric = rows[0].task.primary_metric
    table = RichTable(
        title=for_terminal(f"{description.title}: {evidence.finals[0].corpus} (test split)"),
        title_justify="left",
        box=None,
        padding=(0, 1, 0, 0),
    )
    table.add_column("variant", min_width=12)
    for name in ("norms", "skips", "outcome", metric.title, "95 % interval"):
        table.add_column(name, justify="left" if name == "outcome" else "right", no_wrap=True)
    for row in rows:
        endings = {status: row.count(status) for status in get_args(Status)}
        table.add_row(
            for_terminal(row.label),
            *(str(row.fact(name)) for name in ("norms", "skips")),
            "\n".join(f"{count} {status.replace('_', ' ')}" for status, count in endings.items() if count),
            mean_and_sd(row.score),
            for_terminal(interval(row.score)),
        )
    console.print(table)
    for sentence in [*findings(rows), budget(rows)]:
        console.print(f"• {for_terminal(sentence)}", highlight=False)
    if written:
        beside = ", ".join(str(path.relative_to(written[0].parent)) for path in written[1:])
        console.print(f"wrote {beside} and {written[0]}", markup=False, highlight=False, soft_wrap=True)


def printed(table: TextTable) -> RichTable:
    """Return a table for the terminal."""
    shown = RichTable(box=None, pad_edge=False, collapse_padding=True)
    first, last = table.columns[0], table.columns[-1]
    for column in table.columns:
        # no number is cut off
        shown.add_column(for_terminal(column), overflow="fold", no_wrap=column in (first, last))
    for row in table.rows:
        shown.add_row(*map(for_terminal, row))
    return shown
