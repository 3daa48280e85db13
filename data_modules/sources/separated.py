"""CSV and TSV: whether quotation marks are text or hold a cell together, and where the header is.

Parsers read on until the next mark. If a text merely begins with a mark, they make one cell of many rows. So the marks
are looked at first:

* In csv files they hold cells together, as RFC 4180 says: a mark opens a cell, a mark and a separator or line break
  close it, and marks within are doubled.
* In tsv files they are text, as in GLUE, PAWS-X and SMS Spam. There are two exceptions: all marks hold cells together
  that need it, as spreadsheets and pandas write them, or the header's names have marks too.
* Marks that break these rules are text if every line has as many fields as the first. Otherwise the file is refused,
  and the message names the line.
"""

from __future__ import annotations

import csv
import mmap
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from data_modules.errors import DataError, shortened
from data_modules.mapped import PIECE

MOST_COLUMNS = 10_000
SUSPICIOUS_LINES = 3
"""If at least this many lines of a cell look like rows, they are taken for rows that a mark has swallowed."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
CELL = re.compile(rb'"[^"]*+(?:""[^"]*+)*+"')


def separated_pieces(path: Path, separator: str, names: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
    """Read a UTF-8 file, ``PIECE`` rows at a time; cells stay text, so ``NA`` and ``007`` are what they are.

    Args:
        path: the file.
        separator: what separates the cells of a row.
        names: names of the columns if the file has no header.

    Raises:
        DataError: the header or the quotation marks are unfit.
    """
    options: dict[str, Any] = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig", "compression": None}
    if not marks_hold_cells_together(path, separator, None if names is None else len(names)):
        options["quoting"] = csv.QUOTE_NONE
    first = first_row(path, separator, marks_are_text="quoting" in options)
    if names is not None:
        if len(names) != len(first):
            raise DataError(f"{path.name} has {len(first)} columns, but data.columns names {len(names)}")
        options |= {"names": list(names), "header": None}
    elif twice := next((name for name in first if name and first.count(name) > 1), None):
        raise DataError(f"{path.name} has two columns named {shortened(twice)!r}; rename one of them")
    with pd.read_csv(path, sep=separator, chunksize=PIECE, **options) as reader:
        for piece in reader:
            if not isinstance(piece.index, pd.RangeIndex):  # pandas takes a field without a column for the rows' names
                raise DataError(
                    f"{path.name}: the first row has more fields than the header has names; put a text that contains "
                    "the separator into double quotes"
                )
            yield piece


def first_row(path: Path, separator: str, *, marks_are_text: bool = False) -> list[str]:
    """Return the cells of a file's first row; empty ones if a mark opens one that nothing closes.

    Raises:
        DataError: there are more than ``MOST_COLUMNS``.
    """
    with path.open("rb") as file:
        count = file.readline().count(separator.encode()) + 1
    if count > MOST_COLUMNS:
        raise DataError(f"{path.name} has {count:,} columns; at most {MOST_COLUMNS:,} are read")
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            quoting: Literal[0, 3] = csv.QUOTE_NONE if marks_are_text else csv.QUOTE_MINIMAL
            return next(csv.reader(file, delimiter=separator, quoting=quoting), [])
        except csv.Error:
            return [""] * count


def marks_hold_cells_together(path: Path, separator: str, fields: int | None = None) -> bool:
    """Say whether a file's quotation marks hold cells together; otherwise they are text.

    Args:
        path: a UTF-8 file.
        separator: comma or tab.
        fields: cells of a row; those of the first row by default.

    Raises:
        DataError: they can be neither, or a cell seems to have swallowed whole rows.
    """
    if path.stat().st_size == 0:
        return True
    fields = fields or len(first_row(path, separator))
    mark = separator.encode()
    opening = re.compile(rb"(?:\A(?:\xef\xbb\xbf)?|[" + mark + rb'\r\n])"')
    needless = position = 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        while opened := opening.search(content, position):
            start = opened.end() - 1
            cell = CELL.match(content, start)
            if cell is None or content[cell.end() : cell.end() + 1] not in (b"", mark, b"\r", b"\n"):
                if not _lines_are_regular(path, mark, fields):
                    line = content[:start].count(b"\n") + 1
                    raise DataError(
                        f"{path.name}, line {line}: a quotation mark opens a cell and none closes it before the next "
                        "separator; double the marks within a cell, and put a cell with marks into marks"
                    )
                return False
            inner = content[start + 1 : cell.end() - 1]
            needless += not any(needing in inner for needing in (mark, b"\n", b"\r", b'"'))
            lines = inner.split(b"\n")[1:-1]
            if len(lines) >= SUSPICIOUS_LINES and fields > 1 and all(line.count(mark) == fields - 1 for line in lines):
                raise DataError(
                    f"{path.name}, line {content[:start].count(bytes([10])) + 1}: a quotation mark makes one cell of "
                    f"{len(lines) + 2} lines that look like rows; double the mark, or save texts of several lines as "
                    "jsonl or parquet"
                )
            position = cell.end()
        header_has_marks = content[:4].removeprefix(BYTE_ORDER_MARK).startswith(b'"')
    if separator == "," or header_has_marks or not needless:
        return True
    return not _lines_are_regular(path, mark, fields)


def _lines_are_regular(path: Path, mark: bytes, fields: int) -> bool:
    """Say whether every line has as many fields as the first row, quotation marks disregarded."""
    with path.open("rb") as file:
        return all(line.count(mark) == fields - 1 for line in file if line.strip(b"\r\n"))
