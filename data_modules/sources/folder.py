"""Local dataset folders: whatever ``datasets.load_dataset(folder)`` or ``load_from_disk(folder)`` reads."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from data_modules.cache import digest, file_digest
from data_modules.config import DataConfig
from data_modules.errors import DataError
from data_modules.mapped import PIECE
from data_modules.sources.network import offline
from data_modules.sources.source import SPLITS, RawCorpus, Source, columns_of
from data_modules.sources.tables import raw_corpus, require_columns, with_gaps

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

SAVED_MARKS = ("dataset_dict.json", "state.json")


def corpus_of(splits: DatasetDict, columns: dict[str, str], name: str) -> RawCorpus:
    """Return raw rows of loaded splits; ``dev`` and ``valid`` count as ``validation``, unknown splits are ignored.

    Class names come from a ClassLabel, else from a column ``<label>_text`` beside whole-number labels, else from the
    labels themselves.

    Raises:
        DataError: there is no train split, or a column is missing.
    """
    named = {
        {"dev": "validation", "valid": "validation", "val": "validation"}.get(key, key): splits[key] for key in splits
    }
    if "train" not in named:
        raise DataError(f"{name} has no split 'train'; its splits are: {', '.join(splits)}")
    named = {split: named[split] for split in SPLITS if split in named}
    for split, rows in named.items():
        wanted = {f"data.{kind}_column": column for kind, column in columns.items()}
        require_columns(f"{name} ({split})", rows.column_names, wanted)
    used = list(dict.fromkeys(columns.values()))
    tables = {split: _pieces(rows.select_columns(used)) for split, rows in named.items()}
    return raw_corpus(tables, columns, _class_names(named["train"], columns.get("label")))


def _pieces(rows: Dataset) -> Iterable[pd.DataFrame]:
    """Return the rows piece by piece; a split without rows is one empty piece."""
    if not len(rows):
        return [rows.to_pandas()]
    whole = [name for name, feature in rows.features.items() if str(getattr(feature, "dtype", "")).startswith("int")]
    gaps = [name for name in whole if rows.data.column(name).null_count]
    return (with_gaps(piece, gaps) for piece in rows.to_pandas(batched=True, batch_size=PIECE))


def _class_names(train: Dataset, label: str | None) -> list[str] | None:
    from datasets import ClassLabel

    if label is None:
        return None
    feature = train.features[label]
    if isinstance(feature, ClassLabel):
        return list(feature.names)
    texts = f"{label}_text"
    if texts in train.column_names and feature.dtype.startswith("int"):
        names = dict(zip(train[label], train[texts], strict=True))
        if sorted(names) == list(range(len(names))) and len(set(names.values())) == len(names):
            return [names[index] for index in range(len(names))]
    return None


def _load(folder: Path, config: DataConfig) -> RawCorpus:
    from datasets import Dataset, DatasetDict, load_dataset, load_from_disk
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    with tempfile.TemporaryDirectory() as scratch, offline():
        try:
            if any((folder / mark).is_file() for mark in SAVED_MARKS):
                loaded = load_from_disk(str(folder))
            else:
                loaded = load_dataset(str(folder), cache_dir=scratch)
        except Exception as error:  # what the many readers behind it raise has no common base
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise DataError(f"the folder {folder.name} cannot be read as a data set: {reason}") from error
        splits = DatasetDict({"train": loaded}) if isinstance(loaded, Dataset) else loaded
        columns = columns_of(config)
        if config.group_column is None and all("group" in rows.column_names for rows in splits.values()):
            columns["group"] = "group"
        return corpus_of(splits, columns, folder.name)


def source(config: DataConfig) -> Source:
    """Return a local data set folder as a source, named after the folder."""
    folder = Path(config.corpus).expanduser().resolve()
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    content = [(path.relative_to(folder).as_posix(), file_digest(path)) for path in files]
    if not content:
        raise DataError(f"the folder {folder.name} (data.corpus) is empty")
    return Source(
        slug=config.slug,
        description=f"folder:{folder.name}",
        key=digest("folder", content, columns_of(config)),
        load=lambda: _load(folder, config),
    )
