"""CSV, TSV, JSONL and Parquet files with named columns."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from itertools import combinations, islice
from pathlib import Path
from typing import Any

import pandas as pd
from pyarrow import parquet

from data_modules.cache import digest, file_digest
from data_modules.config import DataConfig
from data_modules.errors import DataError, nearest
from data_modules.mapped import PIECE
from data_modules.sources.columns import HALF_CHARACTER, raw_corpus, require_columns
from data_modules.sources.opened import located, plain_file, refuse_long_lines
from data_modules.sources.separated import MOST_COLUMNS, separated_pieces
from data_modules.sources.source import SPLITS, RawCorpus, Source, columns_of

SEPARATORS = {"csv": ",", "tsv": "\t"}
UNNAMED_INDEX = "__index_level_"
"""How pandas names an index without a name in Parquet."""


def read_table(
    path: Path,
    file_format: str,
    encoding: str = "utf-8",
    names: Sequence[str] | None = None,
    *,
    halves: bool = False,
) -> pd.DataFrame:
    """Read a file as :func:`read_pieces` does, as one table, which any format can hold.

    Only JSON can spell half a character; such halves are removed, unless ``halves`` is true.
    """
    table = pd.concat(read_pieces(path, file_format, encoding, names), ignore_index=True)
    if file_format == "jsonl" and not halves:
        table = table.map(lambda cell: HALF_CHARACTER.sub("", cell) if isinstance(cell, str) else cell)
    return table


def read_pieces(
    path: Path,
    file_format: str,
    encoding: str = "utf-8",
    names: Sequence[str] | None = None,
    by_name: str | None = None,
) -> Iterator[pd.DataFrame]:
    """Read a file, ``PIECE`` rows at a time; cells of text formats stay text, so ``NA`` and ``007`` are what they are.

    Args:
        path: the file, which may be compressed (gzip, bzip2, xz, zip).
        file_format: one of ``csv``, ``tsv``, ``jsonl``, ``parquet``.
        encoding: encoding of its text.
        names: names of the columns of a csv or tsv file without a header.
        by_name: a column whose class indices are to be replaced by the names that ``datasets`` noted in a Parquet file.

    Raises:
        DataError: it is missing, empty, in another encoding or not in its format, or a line or row is out of bounds.
    """
    if not path.is_file():
        raise DataError(_missing(path))
    rows = 0
    try:
        with plain_file(path, None if file_format == "parquet" else encoding) as plain:
            for piece in _pieces(plain, file_format, names, by_name):
                rows += len(piece)
                yield piece
    except DataError:
        raise
    except UnicodeDecodeError as error:
        raise DataError(located(path, error)) from error
    except pd.errors.EmptyDataError:
        raise DataError(f"{path.name} is empty") from None
    except (ValueError, OSError, csv.Error) as error:  # parser errors of pandas, json and pyarrow are ValueErrors
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path.name} cannot be read as {file_format}: {reason}") from error
    if not rows:
        raise DataError(f"{path.name} has no rows")


def _missing(path: Path) -> str:
    if path.is_dir():
        return f"{path} is a folder; pass a data set's folder as data.corpus, without data.train_file"
    near = nearest(path.name, [other.name for other in path.parent.iterdir()]) if path.parent.is_dir() else ""
    return f"the file {path} does not exist{near if 'did you mean' in near else ''}"


def _pieces(path: Path, file_format: str, names: Sequence[str] | None, by_name: str | None) -> Iterator[pd.DataFrame]:
    if file_format == "parquet":
        return _parquet_pieces(path, by_name)
    refuse_long_lines(path)
    return _jsonl_pieces(path) if file_format == "jsonl" else separated_pieces(path, SEPARATORS[file_format], names)


def _parquet_pieces(path: Path, by_name: str | None) -> Iterator[pd.DataFrame]:
    """Read a Parquet file; a named index of pandas becomes a column, and whole numbers stay whole in spite of gaps."""
    with parquet.ParquetFile(path) as file:
        columns = [name for name in file.schema_arrow.names if not name.startswith(UNNAMED_INDEX)]
        if len(columns) > MOST_COLUMNS:
            raise DataError(f"{path.name} has {len(columns):,} columns; at most {MOST_COLUMNS:,} are read")
        classes = class_labels(file.schema_arrow.metadata).get(by_name or "")
        for batch in file.iter_batches(PIECE, columns=columns):
            piece = batch.to_pandas(integer_object_nulls=True)
            if any(name is not None for name in piece.index.names):
                piece = piece.reset_index()
            if classes is not None:
                piece[by_name] = [_class_name(value, classes, path.name) for value in piece[by_name]]
            yield piece[columns]


def class_labels(metadata: dict[bytes, bytes] | None) -> dict[str, list[str]]:
    """Return the class names, by index, of every ClassLabel column that ``datasets`` noted in a file's metadata."""
    try:
        noted = json.loads((metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return {
            name: [str(each) for each in feature["names"]]
            for name, feature in noted.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (ValueError, KeyError, TypeError, AttributeError):  # notes of another kind
        return {}


def _class_name(value: Any, names: list[str], file: str) -> str | None:
    """Return the name of a class index; None for a gap or −1, by which ``datasets`` marks rows without a class."""
    if value is None or value != value or value == -1:
        return None
    if not 0 <= value < len(names):
        raise DataError(f"{file}: there is no class of index {int(value)}; the classes are 0 to {len(names) - 1}")
    return names[int(value)]


def _jsonl_pieces(path: Path) -> Iterator[pd.DataFrame]:
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        numbered = enumerate(file, start=1)
        while lines := list(islice(numbered, PIECE)):
            rows = [_json_row(path, number, line) for number, line in lines if line.strip()]
            yield pd.DataFrame(rows, dtype=object)


def _json_row(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{path.name}, line {number}, is not JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets within brackets
        raise DataError(f"{path.name}, line {number}, is too large to be a row: {error}") from None
    if not isinstance(row, dict):
        raise DataError(f"{path.name}, line {number}, is not a JSON object with named fields")
    if len(row) > MOST_COLUMNS:
        raise DataError(f"{path.name}, line {number}, has {len(row):,} fields; at most {MOST_COLUMNS:,} are read")
    return row


def selected_pieces(
    path: Path, file_format: str, columns: dict[str, str], config: DataConfig
) -> Iterator[pd.DataFrame]:
    """Yield the columns in question, piece by piece. A line of JSON may lack some of them, but must have the group's.

    Raises:
        DataError: the file is unfit, or no row has one of the columns.
    """
    named = {f"data.{kind}_column": column for kind, column in columns.items()}
    sparse = file_format == "jsonl"
    in_every_piece = {field: named[field] for field in named if not sparse or field == "data.group_column"}
    present: dict[str, None] = {}
    for piece in read_pieces(path, file_format, config.encoding, config.columns, columns.get("label")):
        present |= dict.fromkeys(piece.columns)
        require_columns(path.name, list(piece.columns), in_every_piece)
        yield piece.reindex(columns=list(dict.fromkeys(columns.values())))
    require_columns(path.name, list(present), named)


def source(config: DataConfig) -> Source:
    """Return the files as a source, named after the file of training rows.

    Raises:
        DataError: a file is missing.
    """
    named = {name: getattr(config, f"{name}_file") for name in SPLITS}
    paths = {name: Path(value).expanduser() for name, value in named.items() if value is not None}
    for path in paths.values():
        if not path.is_file():
            raise DataError(_missing(path))
    content = {name: file_digest(path) for name, path in paths.items()}
    for first, second in combinations(paths, 2):
        fields = f"data.{first}_file and data.{second}_file"
        if paths[first].resolve() == paths[second].resolve():
            raise DataError(f"{fields} are the same file, {paths[first].name}")
        if content[first] == content[second]:
            raise DataError(f"{fields} hold the same, {paths[first].name} and {paths[second].name}")
    columns = columns_of(config)

    def load() -> RawCorpus:
        tables = {name: selected_pieces(path, config.corpus, columns, config) for name, path in paths.items()}
        return raw_corpus(tables, columns, names={name: path.name for name, path in paths.items()})

    train = paths["train"]
    return Source(
        slug=config.slug,
        description=f"file:{train.name}",
        key=digest("files", config.corpus, config.encoding, config.columns, content, columns),
        load=load,
    )
