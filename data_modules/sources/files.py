"""CSV, TSV, JSONL and Parquet files with named columns."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from data_modules.cache import digest, file_digest
from data_modules.config import DataConfig
from data_modules.errors import DataError
from data_modules.mapped import PIECE
from data_modules.sources.source import SPLITS, RawCorpus, Source, columns_of
from data_modules.sources.tables import raw_corpus, require_columns, with_gaps


def read_table(path: Path, file_format: str) -> pd.DataFrame:
    """Read a file; cells of text formats stay text, so ``NA`` and ``007`` are what they are.

    Raises:
        DataError: it is missing, empty, not UTF-8, or not in its format.
    """
    return pd.concat(read_pieces(path, file_format), ignore_index=True)


def read_pieces(path: Path, file_format: str) -> Iterator[pd.DataFrame]:
    """Read a file as :func:`read_table` does, but ``PIECE`` rows at a time.

    Raises:
        DataError: it is missing, empty, not UTF-8, or not in its format.
    """
    if not path.is_file():
        beside = sorted(other.name for other in path.parent.iterdir()) if path.parent.is_dir() else []
        raise DataError(f"the file {path} does not exist{_near(path.name, beside)}")
    rows = 0
    try:
        for piece in READERS[file_format](path):
            rows += len(piece)
            yield piece
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except pd.errors.EmptyDataError:
        raise DataError(f"{path.name} is empty") from None
    except (ValueError, OSError) as error:  # parser errors of pandas, json and pyarrow are ValueErrors
        raise DataError(f"{path.name} cannot be read as {file_format}: {str(error).splitlines()[0]}") from error
    if not rows:
        raise DataError(f"{path.name} has no rows")


def _parquet_pieces(path: Path) -> Iterator[pd.DataFrame]:
    with parquet.ParquetFile(path) as file:
        whole = [column.name for column in file.schema_arrow if pa.types.is_integer(column.type)]
        gaps = [name for name in whole if file.read([name]).column(0).null_count]
        for batch in file.iter_batches(PIECE):
            yield with_gaps(batch.to_pandas(), gaps)


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
    if not isinstance(row, dict):
        raise DataError(f"{path.name}, line {number}, is not a JSON object with named fields")
    return row


def _separated_pieces(path: Path, separator: str) -> Iterator[pd.DataFrame]:
    options: dict[str, Any] = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig"}
    with pd.read_csv(path, sep=separator, chunksize=PIECE, **options) as reader:
        for piece in reader:
            if not isinstance(piece.index, pd.RangeIndex):  # pandas takes a field without a column for the rows' names
                raise DataError(
                    f"{path.name}: the first row has more fields than the header has names; put a text that contains "
                    "the separator into double quotes"
                )
            yield piece


READERS: dict[str, Callable[[Path], Iterator[pd.DataFrame]]] = {
    "parquet": _parquet_pieces,
    "jsonl": _jsonl_pieces,
    "csv": partial(_separated_pieces, separator=","),
    "tsv": partial(_separated_pieces, separator="\t"),
}


def _near(name: str, others: list[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, others, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _selected(path: Path, file_format: str, columns: dict[str, str]) -> Iterator[pd.DataFrame]:
    """Yield the columns in question, piece by piece; lines of JSON need not have them all, but for the group's.

    Raises:
        DataError: the file is unfit, or no row has one of the columns.
    """
    named = {f"data.{kind}_column": column for kind, column in columns.items()}
    in_every_piece = {field: named[field] for field in named if file_format != "jsonl" or field == "data.group_column"}
    present: dict[str, None] = {}
    for piece in read_pieces(path, file_format):
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
    for name, path in paths.items():
        if not path.is_file():
            read_table(path, config.corpus)  # raises, naming the nearest file
        if name != "train" and path.resolve() == paths["train"].resolve():
            raise DataError(f"data.{name}_file and data.train_file are the same file, {path.name}")
    columns = columns_of(config)

    def load() -> RawCorpus:
        return raw_corpus({name: _selected(path, config.corpus, columns) for name, path in paths.items()}, columns)

    content = {name: file_digest(path) for name, path in paths.items()}
    train = paths["train"]
    return Source(
        slug=config.slug,
        description=f"file:{train.name}",
        key=digest("files", config.corpus, content, columns),
        load=load,
    )
