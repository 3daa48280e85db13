"""Rows of a file with the answers to their texts: read, joined by columns, and written in any format.

Cells keep what they are in each format: digits of numbers, missing fields, half characters, index columns.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import lzma
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Literal

from data_modules.config import FILE_FORMATS, file_format_of
from data_modules.errors import nearest
from experiments.errors import ExperimentError

if TYPE_CHECKING:  # they take seconds to import
    import pandas as pd

    from experiments.runs.inference import ClassAnswers


def format_of(path: Path) -> str:
    """Return the format that a file's ending names; of a folder, that of what is written about its texts.

    Raises:
        ExperimentError: if it names none that is known.
    """
    ending = "csv" if path.is_dir() else file_format_of(path.name)
    if ending not in FILE_FORMATS:
        raise ExperimentError(
            f"{path.name} ends in {ending!r}, which is no known format{nearest(ending, FILE_FORMATS)}"
        )
    return ending


def read_rows(
    path: Path, text_column: str, encoding: str, columns: Sequence[str] | None
) -> tuple[pd.DataFrame, list[str]]:
    """Read a file of rows, or a folder of texts: what names each of them, and their texts.

    Raises:
        ExperimentError, DataError: it cannot be read, or lacks the column.
    """
    from data_modules.sources.columns import require_columns
    from data_modules.sources.files import read_table
    from data_modules.sources.folder import texts_in

    file_format = format_of(path)
    if columns is not None and (path.is_dir() or file_format not in ("csv", "tsv")):
        raise ExperimentError(f"--columns names the columns of csv and tsv files, and {path.name} is neither")
    if path.is_dir():
        found = texts_in(path, encoding)
        return found[["file"]], found["text"].tolist()
    table = read_table(path, file_format, encoding, columns, halves=file_format == "jsonl")
    require_columns(path.name, [str(column) for column in table.columns], {"--text_column": text_column})
    return table, texts_of(table[text_column])


def texts_of(column: pd.Series) -> list[str]:
    """The cells of a column as text; a missing one is empty."""
    from pandas import isna
    from pandas.api.types import is_scalar

    from data_modules.sources.columns import HALF_CHARACTER

    cells = ["" if is_scalar(cell) and isna(cell) else str(cell) for cell in column]
    return [HALF_CHARACTER.sub("", cell) for cell in cells]


def added_columns(answers: ClassAnswers, present: Sequence[Any], name: str) -> dict[str, Any]:
    """Return the columns ``predicted`` and ``probability_<class>`` by name.

    Args:
        answers: of every row.
        present: the columns that the rows have already.
        name: what the rows are called in a message.

    Raises:
        ExperimentError: where there is such a column already.
    """
    added: dict[str, Any] = {"predicted": answers.predicted}
    for index, class_name in enumerate(answers.class_names):
        added[f"probability_{class_name}"] = answers.probabilities[:, index]
    taken = [column for column in added if column in present]
    if taken:
        raise ExperimentError(f"{name} has a column {taken[0]!r} already, which the answers would replace; rename it")
    return added


def with_columns(table: pd.DataFrame, added: dict[str, Any]) -> pd.DataFrame:
    """Return a table with further columns."""
    import pandas as pd

    return pd.concat([table, pd.DataFrame(added, index=table.index)], axis=1)


def parquet_with(path: Path, added: dict[str, Any]) -> bytes:
    """Return a Parquet file with further columns, the others with their own types, index columns of pandas included."""
    import pyarrow as pa
    from pyarrow import parquet

    from data_modules.sources.opened import plain_file

    with plain_file(path, None) as plain:
        table = parquet.read_table(plain)
    for name, values in added.items():
        table = table.append_column(name, pa.array(values))
    buffer = pa.BufferOutputStream()
    parquet.write_table(table, buffer)
    return buffer.getvalue().to_pybytes()


def table_bytes(table: pd.DataFrame, file_format: str) -> bytes:
    """Return a table as CSV, TSV, JSONL or Parquet.

    Quotation marks of a TSV file are text, unless a cell needs them to hold together.

    Raises:
        ExperimentError: Parquet has no place for columns of several types.
    """
    match file_format:
        case "parquet":
            try:
                return table.to_parquet(index=False)
            except (ValueError, TypeError) as error:  # pyarrow's errors are among them
                reason = str(error).splitlines()[0]
                raise ExperimentError(f"these rows cannot be written as parquet ({reason}); write jsonl") from None
        case "jsonl":
            rows = zip(*(table[name] for name in table.columns), strict=True)
            return "".join(f"{json_row(list(table.columns), row)}\n" for row in rows).encode()
        case "tsv":
            held = any(needs_marks(cell) for cell in cells_of(table))
            quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if held else csv.QUOTE_NONE
            written = table.to_csv(index=False, sep="\t", lineterminator="\n", quoting=quoting)
            return written.encode(errors="backslashreplace")
        case _:
            return table.to_csv(index=False, lineterminator="\n").encode(errors="backslashreplace")


def cells_of(table: pd.DataFrame) -> Iterator[str]:
    """Yield the texts of a table, column names among them."""
    yield from map(str, table.columns)
    for name in table.columns:
        yield from (cell for cell in table[name] if isinstance(cell, str))


def needs_marks(cell: str) -> bool:
    """Tell whether a cell of a TSV file holds what separates cells."""
    return any(separator in cell for separator in "\t\r\n")


def json_row(names: Sequence[Any], values: Sequence[Any]) -> str:
    """Return a row as JSON without the fields that it lacks; numbers keep every digit."""
    row = {str(name): plain_value(value) for name, value in zip(names, values, strict=True) if not is_gap(value)}
    text = json.dumps(row, ensure_ascii=False)
    return text if text.isascii() or encodable(text) else json.dumps(row)  # half a character can be spelled out


def is_gap(value: Any) -> bool:
    """Tell whether a cell is what pandas puts where a row lacks a field."""
    return isinstance(value, float) and value != value


def encodable(text: str) -> bool:
    """Tell whether a text is free of half characters, which UTF-8 cannot hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def plain_value(value: Any) -> Any:
    """Return a cell as JSON can hold it: numbers and arrays of numpy as Python's own, dates as text."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value]
    if isinstance(value, dict):
        return {str(name): plain_value(item) for name, item in value.items()}
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def compressed(content: bytes, name: str) -> bytes:
    """Return what a file of this name holds: compressed where its ending says so.

    Raises:
        ExperimentError: for an ending that is not written.
    """
    ending = PurePath(name).suffix.lower()
    if ending == ".zip":
        raise ExperimentError(f"{name}: zip files are read and not written; write .gz, .bz2 or .xz")
    known: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
    compress = known.get(ending)
    return content if compress is None else compress(content)
