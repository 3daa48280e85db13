"""A table as CSV, Markdown and LaTeX. Three small renderers: pandas' own need jinja2 and tabulate."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from experiments.statistics.seeds import Spread

EMPTY = "–"


@dataclass(frozen=True)
class Grid:
    """Column names and rows of text."""

    columns: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Table:
    """The same table twice: ``data`` with every digit for programs, ``reading`` rounded for people."""

    name: str
    caption: str
    data: Grid
    reading: Grid


def number(value: float | None, digits: int = 6) -> str:
    """Return a number with a fixed number of decimals; nothing for what is not defined."""
    if value is None:
        return ""
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def rounded(value: float | None, digits: int = 3) -> str:
    """Return a number for reading, with a real minus sign; a dash for what is not defined."""
    return number(value, digits).replace("-", "−") or EMPTY


def plural(count: int, noun: str) -> str:
    """Return ``1 run`` or ``3 runs``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def joined(names: Sequence[str]) -> str:
    """Return ``a``, ``a and b`` or ``a, b and c``; with semicolons where a name has a comma of its own."""
    if len(names) < 2:
        return "".join(names)
    if any(", " in name for name in names):
        return "; ".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def mean_and_sd(values: Spread, digits: int = 3) -> str:
    """Return ``0.771 ± 0.004``; without the spread where there is one run, a dash where there is none."""
    if values.mean is None:
        return EMPTY
    mean = rounded(values.mean, digits)
    return mean if values.sd is None else f"{mean} ± {rounded(values.sd, digits)}"


def interval(values: Spread) -> str:
    """Return ``[0.766, 0.776]``; a dash where there is no interval."""
    if values.low is None or values.high is None:
        return EMPTY
    return f"[{rounded(values.low)}, {rounded(values.high)}]"


def to_csv(grid: Grid) -> str:
    """Return CSV with a header line."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(grid.columns)
    writer.writerows(grid.rows)
    return buffer.getvalue()


def to_markdown(grid: Grid, verbatim: Collection[str] = ()) -> str:
    """Return a GitHub-flavoured Markdown table, columns of numbers aligned right.

    Args:
        grid: the table.
        verbatim: names of columns whose cells are Markdown already, such as links.
    """
    marks = ["---:" if _is_numeric(column) else "---" for column in _columns(grid)]
    lines = [[escape_markdown(name) for name in grid.columns], marks]
    lines += [
        [cell if name in verbatim else escape_markdown(cell) for name, cell in zip(grid.columns, row, strict=True)]
        for row in grid.rows
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def to_latex(table: Table) -> str:
    """Return a LaTeX table (packages ``booktabs`` and ``graphicx``, which shrinks it to the width of the text)."""
    grid = table.reading
    alignment = "".join("r" if _is_numeric(column) else "l" for column in _columns(grid))
    lines = [" & ".join(escape_latex(cell) for cell in row) + r" \\" for row in [grid.columns, *grid.rows]]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape_latex(table.caption)}}}",
            rf"\label{{tab:{table.name}}}",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
            "",
        ]
    )


def escape_markdown(text: str) -> str:
    """Return text that Markdown shows as it is, on one line and within a table cell."""
    text = re.sub(r"[\\|`*\[\]]", lambda match: f"\\{match[0]}", " ".join(text.split()))
    text = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def escape_latex(text: str) -> str:
    """Return text that LaTeX shows as it is."""
    special = {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "−": "$-$",
        "×": r"$\times$",
        EMPTY: "--",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "[": "{[}",  # at the start of a row it would be an argument of the line break before it
    }
    special |= {character: rf"\{character}" for character in "&%$#_{}"}
    return "".join(special.get(character, character) for character in " ".join(text.split()))


def _columns(grid: Grid) -> list[Sequence[str]]:
    return list(zip(*grid.rows, strict=True)) if grid.rows else [() for _ in grid.columns]


def _is_numeric(cells: Sequence[str]) -> bool:
    """Tell whether every cell of a column that says anything starts as a number or an interval does."""
    said = [cell for cell in cells if cell not in ("", EMPTY)]
    return bool(said) and all(re.match(r"\[?[-−+]?\d", cell) for cell in said)
