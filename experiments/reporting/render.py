"""Numbers and settings as people read them, and a table of text as CSV, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.escaping import for_latex, for_markdown
from experiments.runs.naming import short_names, spell
from experiments.statistics.seeds import Spread

EMPTY = "–"
SIBILANTS = ("s", "x", "z", "ch", "sh")
"""Endings of nouns whose plural ends in -es."""
SPOKEN = {"beta2": "β₂", "gradient_clip_val": "gradient clipping", "max_train_rows": "training rows"}
"""Settings whose name in a configuration is not what a reader would call them."""


@dataclass(frozen=True)
class TextTable:
    """Column names and rows of text."""

    columns: list[str]
    rows: list[list[str]]


def number(value: float | None, digits: int = 6) -> str:
    """Return a number with a fixed number of decimals; empty if it is not defined."""
    if value is None or value != value:
        return ""
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def rounded(value: float | None, digits: int = 3) -> str:
    """Return a number for reading, with a real minus sign; a dash if it is not defined."""
    return number(value, digits).replace("-", "−") or EMPTY


def plural(count: int, noun: str) -> str:
    """Return ``1 run``, ``3 runs``, ``2 classes`` or ``2 boundaries``, large counts with commas."""
    if count == 1:
        return f"1 {noun}"
    if noun.endswith(SIBILANTS):
        return f"{count:,} {noun}es"
    if re.search(r"[^aeiou]y$", noun):
        return f"{count:,} {noun[:-1]}ies"
    return f"{count:,} {noun}s"


def singular(noun: str) -> str:
    """Undo what :func:`plural` does to a regular noun: ``layer`` for ``layers``, ``class`` for ``classes``."""
    if noun.endswith("ies"):
        return f"{noun[:-3]}y"
    stem = noun.removesuffix("es")
    return stem if stem != noun and stem.endswith(SIBILANTS) else noun.removesuffix("s")


def joined(names: Sequence[str], most: int | None = None) -> str:
    """Return ``a``, ``a and b`` or ``a, b and c``; with semicolons if a name has a comma of its own.

    Of more than ``most`` names the first ones are named and the others counted.
    """
    if most is not None and len(names) > most + 1:
        names = [*names[:most], f"{len(names) - most} more"]
    if len(names) < 2:
        return "".join(names)
    if any(", " in name for name in names):
        return "; ".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def mean_and_sd(values: Spread, digits: int = 3) -> str:
    """Return ``0.771 ± 0.004``; without the spread for a single run, a dash for none."""
    if values.mean is None:
        return EMPTY
    mean = rounded(values.mean, digits)
    return mean if values.sd is None else f"{mean} ± {rounded(values.sd, digits)}"


def interval(values: Spread) -> str:
    """Return ``[0.766, 0.776]``; a dash if no interval is known."""
    if values.low is None or values.high is None:
        return EMPTY
    return f"[{rounded(values.low)}, {rounded(values.high)}]"


def spoken_name(name: str) -> str:
    """Return ``learning rate`` for ``model.learning_rate``."""
    last = name.rsplit(".", 1)[-1]
    return SPOKEN.get(last, last.replace("_", " "))


def spoken_value(name: str, value: Any) -> str:
    """Return ``24 layers`` if the name is that of a count, ``clipped at 1``, else ``learning rate 0.01``."""
    spelled = spell(value)
    if name.rsplit(".", 1)[-1] == "gradient_clip_val":
        return "no clipping" if value is None else f"clipped at {spelled}"
    noun, is_number = spoken_name(name), isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and noun.endswith("s"):
        return f"{spelled} {singular(noun) if value == 1 else noun}"
    return f"{noun} {spelled}"


def spoken_setting(swept: Mapping[str, Any]) -> str:
    """Return swept values for reading, such as ``no clipping, learning rate 0.003``.

    Names that end alike keep what comes before their last dot.
    """
    said = []
    for name in sorted(swept):
        whole = short_names(swept)[name] == name and "." in name
        said.append(f"{name.replace('_', ' ')} {spell(swept[name])}" if whole else spoken_value(name, swept[name]))
    return ", ".join(said)


def to_csv(table: TextTable, cell: Callable[[str], str] = str) -> str:
    """Return CSV with a header line; with ``cell=for_spreadsheet`` it is the copy to open in a spreadsheet."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([cell(text) for text in line] for line in [table.columns, *table.rows])
    return buffer.getvalue()


def to_markdown(table: TextTable, verbatim: Collection[str] = ()) -> str:
    """Return a GitHub-flavoured Markdown table, columns of numbers aligned right.

    Args:
        table: the table.
        verbatim: names of columns whose cells are Markdown already, such as links.
    """
    marks = ["---:" if is_numeric else "---" for is_numeric in _numeric_columns(table)]
    lines = [[for_markdown(name) for name in table.columns], marks]
    lines += [
        [cell if name in verbatim else for_markdown(cell) for name, cell in zip(table.columns, row, strict=True)]
        for row in table.rows
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def to_latex(table: TextTable, name: str, caption: str) -> str:
    """Return a LaTeX table (packages ``booktabs`` and ``graphicx``, which shrinks it to the width of the text)."""
    alignment = "".join("r" if is_numeric else "l" for is_numeric in _numeric_columns(table))
    header, *body = [" & ".join(map(for_latex, row)) + r" \\" for row in [table.columns, *table.rows]]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{for_latex(caption)}}}",
            rf"\label{{tab:{name}}}",
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            header,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
            "",
        ]
    )


def _numeric_columns(table: TextTable) -> list[bool]:
    """Tell for each column whether every cell with contents starts like a number or an interval."""
    found = []
    for place in range(len(table.columns)):
        said = [row[place] for row in table.rows if row[place] not in ("", EMPTY)]
        found.append(bool(said) and all(re.match(r"\[?[-−+]?\d", cell) for cell in said))
    return found
