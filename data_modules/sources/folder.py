"""Local folders: saved ``datasets``, files named after their splits, and texts in folders named after their class."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from pyarrow import parquet

from data_modules.cache import digest, file_digest
from data_modules.config import FILE_FORMATS, DataConfig, file_format_of
from data_modules.errors import DataError
from data_modules.mapped import PIECE
from data_modules.sources.columns import raw_corpus, require_columns, with_gaps
from data_modules.sources.files import SEPARATORS, class_labels, selected_pieces
from data_modules.sources.online import offline, reason_of
from data_modules.sources.opened import located, plain_file
from data_modules.sources.separated import marks_hold_cells_together
from data_modules.sources.source import SPLITS, RawCorpus, Source, columns_of

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

SAVED_MARKS = ("dataset_dict.json", "state.json")
SPLIT_NAMES = {name: name for name in SPLITS} | dict.fromkeys(("dev", "valid", "val"), "validation")
"""What folders and files call a split."""
WITHOUT_CLASS = ("unsup",)
"""Folders of texts without a class, next to those of the classes, as in the corpus aclImdb."""


def corpus_of(splits: DatasetDict, columns: dict[str, str], name: str) -> RawCorpus:
    """Return raw rows of loaded splits; ``dev`` and ``valid`` count as ``validation``, unknown splits are ignored.

    Class names come from a ClassLabel; else, if labels are whole numbers, from a column ``<label>_text``; else from the
    labels themselves. Each split has class names of its own. If they differ, the classes are those of the training
    rows, and other splits' rows are matched by name.

    Text without labels may be there for evaluation alone: validation and test rows, and no others.

    Raises:
        DataError: there is no train split, or a column is missing.
    """
    named = {SPLIT_NAMES.get(key, key): splits[key] for key in splits}
    if "train" not in named:
        if "label" in columns or not {"validation", "test"} <= named.keys():
            raise DataError(f"{name} has no split 'train'; its splits are: {', '.join(splits)}")
        named["train"] = named["test"].select([])
    named = {split: named[split] for split in SPLITS if split in named}
    for split, rows in named.items():
        wanted = {f"data.{kind}_column": column for kind, column in columns.items()}
        require_columns(f"{name} ({split})", rows.column_names, wanted)
    used = list(dict.fromkeys(columns.values()))
    tables: dict[str, Iterable[pd.DataFrame]] = {
        split: _pieces(rows.select_columns(used)) for split, rows in named.items()
    }
    label, class_names = columns.get("label"), None
    if label is not None:
        names = {split: _class_names(rows, label) for split, rows in named.items()}
        class_names = names["train"]
        for split, own in names.items():
            whole = _is_whole(named[split].features[label])
            if own != class_names and (own is not None or not whole):
                tables[split] = _matched(tables[split], label, own, class_names, f"{name} ({split})")
    return raw_corpus(tables, columns, class_names, {split: f"{name} ({split})" for split in named})


def _matched(
    pieces: Iterable[pd.DataFrame], label: str, own: list[str] | None, names: list[str] | None, table: str
) -> Iterator[pd.DataFrame]:
    """Yield pieces whose labels are numbered as ``names`` are; without ``names`` they become their own names.

    Args:
        pieces: pieces of a split.
        label: its column of labels.
        own: class names by the indices that the split has; none where its labels are names already.
        names: class names by the indices that are wanted.
        table: what the split is called in messages.
    """
    index = None if names is None else {name: position for position, name in enumerate(names)}

    def matched(value: Any) -> Any:
        """Turn one label into its name or, if names are wanted by index, into its index; None for a missing one."""
        if value is None or value != value or (own is not None and int(value) < 0):
            return None
        if own is not None and int(value) >= len(own):
            raise DataError(f"{table}: there is no class of index {int(value)}; the classes are 0 to {len(own) - 1}")
        name = str(value).strip() if own is None else own[int(value)]
        if index is None:
            return name
        if name not in index:
            raise DataError(f"{table}: the rows have a label that no training row has: {name!r}")
        return index[name]

    for piece in pieces:
        yield piece.assign(**{label: pd.Series([matched(value) for value in piece[label]], piece.index, object)})


def _is_whole(feature: Any) -> bool:
    return str(getattr(feature, "dtype", "")).startswith(("int", "uint"))


def _pieces(rows: Dataset) -> Iterable[pd.DataFrame]:
    """Return the rows piece by piece; a split without rows is one empty piece."""
    if not len(rows):
        return [rows.to_pandas()]
    gaps = [name for name, feature in rows.features.items() if _is_whole(feature) and rows.data.column(name).null_count]
    return (with_gaps(piece, gaps) for piece in rows.to_pandas(batched=True, batch_size=PIECE))


def _class_names(rows: Dataset, label: str) -> list[str] | None:
    """Return the names of a split's class indices; None if they have no names or the labels are names."""
    from datasets import ClassLabel

    feature = rows.features[label]
    if isinstance(feature, ClassLabel):
        return list(feature.names)
    texts = f"{label}_text"
    if texts in rows.column_names and str(getattr(feature, "dtype", "")).startswith("int"):
        names = dict(zip(rows[label], rows[texts], strict=True))
        if sorted(names) == list(range(len(names))) and len(set(names.values())) == len(names):
            return [names[index] for index in range(len(names))]
    return None


def _load(folder: Path, config: DataConfig) -> RawCorpus:
    """Read a folder in the way that suits what it holds."""
    if (texts := texts_by_class(folder)) is not None:
        return _read_texts(folder, texts, config)
    if (files := separated_files(folder)) is not None:
        return _read_separated(files, config)
    refuse_other_orders(f"the folder {folder.name}", folder.rglob("*.parquet"), config.label_column)
    _refuse_marks_that_are_text(folder)
    from datasets import Dataset, DatasetDict, load_dataset, load_from_disk
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    with tempfile.TemporaryDirectory() as scratch, offline():
        try:
            if any((folder / mark).is_file() for mark in SAVED_MARKS):
                loaded = load_from_disk(str(folder))
            else:
                loaded = load_dataset(str(folder), config.configuration, cache_dir=scratch)
        except Exception as error:  # what the many readers behind it raise has no common base
            raise DataError(f"the folder {folder.name} cannot be read as a data set: {reason_of(error)}") from error
        splits = DatasetDict({"train": loaded}) if isinstance(loaded, Dataset) else loaded
        columns = columns_of(config)
        if config.group_column is None and all("group" in rows.column_names for rows in splits.values()):
            columns["group"] = "group"
        return corpus_of(splits, columns, folder.name)


def refuse_other_orders(data_set: str, files: Iterable[Path], label: str | None) -> None:
    """Refuse Parquet files that number the same classes differently: ``datasets`` takes one file's names for all.

    Raises:
        DataError: two files have different names for the class indices.
    """
    orders: dict[str, list[str]] = {}
    for path in sorted(files):
        names = class_labels(parquet.read_schema(path).metadata).get(label or "")
        if names is None:
            continue
        orders[path.name] = names
        first, *_ = orders
        if orders[first] != names:
            raise DataError(
                f"{data_set} numbers its classes differently in {first} ({', '.join(orders[first][:5])}) "
                f"and {path.name} ({', '.join(names[:5])}); name the files with data.train_file and data.test_file "
                "instead, with data.corpus parquet, which goes by the names"
            )


def _refuse_marks_that_are_text(folder: Path) -> None:
    """Refuse csv and tsv files in which ``datasets`` would take quotation marks of the texts for ends of cells.

    Raises:
        DataError: a file has such marks.
    """
    for path in sorted(path for path in folder.rglob("*.?sv") if file_format_of(path.name) in SEPARATORS):
        with plain_file(path, "utf-8") as plain:
            if not marks_hold_cells_together(plain, SEPARATORS[file_format_of(path.name)]):
                raise DataError(
                    f"{path.name} has texts with quotation marks, which a folder of several files cannot be read with; "
                    "keep one file for each split (train.csv, test.csv), or name them with data.train_file"
                )


def separated_files(folder: Path) -> dict[str, Path] | None:
    """Return the csv or tsv file of each split, where the folder holds such files alone, named after the splits."""
    paths = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    tables = [path for path in paths if file_format_of(path.name) in (*FILE_FORMATS, "json", "arrow", "txt")]
    named = {SPLIT_NAMES.get(path.name.split(".")[0].lower(), ""): path for path in tables}
    fits = all(file_format_of(path.name) in SEPARATORS for path in tables) and len(named) == len(tables)
    return named if fits and "train" in named and "" not in named else None


def _read_separated(files: dict[str, Path], config: DataConfig) -> RawCorpus:
    columns = columns_of(config)
    tables = {
        split: selected_pieces(files[split], file_format_of(files[split].name), columns, config)
        for split in SPLITS
        if split in files
    }
    return raw_corpus(tables, columns, names={split: path.name for split, path in files.items()})


def texts_by_class(folder: Path) -> dict[str, dict[str, list[Path]]] | None:
    """Return the files of each class of each split, where a folder has texts in folders named after their class.

    That is ``folder/train/<class>/<text>`` with further splits next to ``train``, or ``folder/<class>/<text>``.
    """
    split_folders = {SPLIT_NAMES[entry.name]: entry for entry in folder.iterdir() if entry.name in SPLIT_NAMES}
    if "train" not in split_folders:
        split_folders = {"train": folder}
    found = {split: _classes_in(entry) for split, entry in split_folders.items() if entry.is_dir()}
    return {split: classes for split, classes in found.items() if classes} if found.get("train") else None


def texts_in(folder: Path, encoding: str = "utf-8") -> pd.DataFrame:
    """Return the texts of a folder and of the folders in it, a file each: ``file`` (its place in the folder), ``text``.

    Raises:
        DataError: there is none, one holds a table, or one is not text in this encoding.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    if not paths:
        raise DataError(f"the folder {folder.name} holds no text")
    tables = [path for path in paths if _is_table(path)]
    if tables:
        place = tables[0].relative_to(folder)
        raise DataError(f"the folder {folder.name} holds the table {place}; name that file, or give a folder of texts")
    places = [path.relative_to(folder).as_posix() for path in paths]
    return pd.DataFrame({"file": places, "text": [_text(path, encoding) for path in paths]})


def _classes_in(folder: Path) -> dict[str, list[Path]]:
    """Return the text files of each folder in ``folder``; empty if one of them holds something else."""
    classes: dict[str, list[Path]] = {}
    for entry in sorted(folder.iterdir()):
        if not entry.is_dir() or entry.name.startswith(".") or entry.name in WITHOUT_CLASS:
            continue
        files = sorted(path for path in entry.iterdir() if not path.name.startswith("."))
        if not files or any(path.is_dir() or _is_table(path) for path in files):
            return {}
        classes[entry.name] = files
    return classes if len(classes) > 1 else {}


def _is_table(path: Path) -> bool:
    return file_format_of(path.name) in (*FILE_FORMATS, "json", "arrow")


def _read_texts(folder: Path, texts: dict[str, dict[str, list[Path]]], config: DataConfig) -> RawCorpus:
    def pieces(classes: dict[str, list[Path]]) -> Iterator[pd.DataFrame]:
        paths = [(path, name) for name, files in classes.items() for path in files]
        for start in range(0, len(paths), PIECE):
            yield pd.DataFrame(
                [(_text(path, config.encoding), name) for path, name in paths[start : start + PIECE]],
                columns=["text", "label"],
            )

    columns = {"text": "text", "label": "label"} if config.label_column is not None else {"text": "text"}
    tables = {split: pieces(texts[split]) for split in SPLITS if split in texts}
    return raw_corpus(tables, columns, names={split: f"{folder.name} ({split})" for split in tables})


def _text(path: Path, encoding: str) -> str:
    try:
        with plain_file(path, encoding) as plain:
            return plain.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(located(path, error)) from error


def source(config: DataConfig) -> Source:
    """Return a local data set folder as a source, named after the folder."""
    folder = Path(config.corpus).expanduser().resolve()
    if not os.access(folder, os.R_OK | os.X_OK):
        raise DataError(f"the folder {folder.name} (data.corpus) cannot be read")
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    content = [(path.relative_to(folder).as_posix(), file_digest(path)) for path in files]
    if not content:
        raise DataError(f"the folder {folder.name} (data.corpus) is empty")
    return Source(
        slug=config.slug,
        description=f"folder:{folder.name}",
        key=digest("folder", content, columns_of(config), config.encoding, config.configuration),
        load=partial(_load, folder, config),
    )
