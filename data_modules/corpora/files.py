"""CSV, TSV, JSONL and Parquet files with named columns."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from data_modules.cache import digest, file_digest
from data_modules.config import DataConfig
from data_modules.corpora.source import SPLITS, RawCorpus, Source
from data_modules.corpora.tables import raw_corpus, require_columns
from data_modules.errors import DataError


def read_table(path: Path, file_format: str) -> pd.DataFrame:
    """Read a file; cells of text formats stay text, so ``NA`` and ``007`` are what they are.

    Raises:
        DataError: it is missing, empty, not UTF-8, or not in its format.
    """
    if not path.is_file():
        beside = sorted(other.name for other in path.parent.iterdir()) if path.parent.is_dir() else []
        raise DataError(f"the file {path} does not exist{_near(path.name, beside)}")
    try:
        table = _read(path, file_format)
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except pd.errors.EmptyDataError:
        raise DataError(f"{path.name} is empty") from None
    except (ValueError, OSError) as error:  # parser errors of pandas, json and pyarrow are ValueErrors
        raise DataError(f"{path.name} cannot be read as {file_format}: {str(error).splitlines()[0]}") from error
    if table.empty:
        raise DataError(f"{path.name} has no rows")
    return table


def _read(path: Path, file_format: str) -> pd.DataFrame:
    if file_format == "parquet":
        return pd.read_parquet(path)
    if file_format == "jsonl":
        rows = []
        for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1):
            if line.strip():
                try:
                    rows.append(json.loads(line))
                except json.JSONDecodeError as error:
                    raise DataError(f"{path.name}, line {number}, is not JSON: {error.msg}") from None
                if not isinstance(rows[-1], dict):
                    raise DataError(f"{path.name}, line {number}, is not a JSON object with named fields")
        return pd.DataFrame(rows, dtype=object)
    separator = "\t" if file_format == "tsv" else ","
    return pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")


def _near(name: str, others: list[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, others, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


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
    columns = {"text": config.text_column, "label": config.label_column}
    if config.group_column is not None:
        columns["group"] = config.group_column

    def load() -> RawCorpus:
        tables = {}
        for name, path in paths.items():
            tables[name] = read_table(path, config.corpus)
            wanted = {f"data.{kind}_column": column for kind, column in columns.items()}
            require_columns(path.name, list(tables[name].columns), wanted)
        return raw_corpus(tables, columns)

    content = {name: file_digest(path) for name, path in paths.items()}
    train = paths["train"]
    return Source(
        slug=config.slug,
        description=f"file:{train.name}",
        key=digest("files", config.corpus, content, columns),
        load=load,
    )
