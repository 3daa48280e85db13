"""From tables with named columns to raw rows with class indices."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_modules.errors import DataError, nearest
from data_modules.mapped import PIECE
from data_modules.sources.mapped_tables import chosen_rows, mapped_frame
from data_modules.sources.source import RawCorpus
from data_modules.unicode import composed

SEPARATORS = ",;|\t"
"""What separates columns in files of one kind or another."""
WHOLE_NUMBER = re.compile(r"[+-]?\d{1,4000}")
POINT_ZERO = re.compile(r"\.0+$")
HALF_CHARACTER = re.compile("[\ud800-\udfff]")
NESTED = (list, tuple, dict, set, np.ndarray)
LONGEST_TEXT, LONGEST_LABEL, MOST_CLASSES = 10_000_000, 1_000, 5_000
"""Bounds past which a column is probably not the one that was meant."""


def require_columns(table: str, present: list[str], wanted: dict[str, str]) -> None:
    """Raise :class:`DataError` unless every wanted column is there.

    Args:
        table: what the table is called in the message.
        present: the columns there are.
        wanted: the configuration field that names each column, and the column.
    """
    for field, column in wanted.items():
        if column not in present:
            listed = f"its columns are: {', '.join(map(str, present))}"
            hint = nearest(column, present) if present else ""
            hint = hint if "did you mean" in hint else ""
            if len(present) == 1 and any(separator in str(present[0]) for separator in SEPARATORS):
                hint = "; that is one column: in csv files commas separate the columns, in tsv files tabs"
            elif any(looks_like_data(str(name)) for name in present):
                hint = "; the first row looks like data: name the columns of a file without a header by data.columns"
            elif field == "data.label_column" and not hint:
                hint = "; null reads text without labels"
            raise DataError(f"{table} has no column {column!r} ({field}); {listed}{hint}")


def looks_like_data(name: str) -> bool:
    """Say whether a column's name is rather a cell: a number, or many words."""
    return re.fullmatch(r"[+-]?\d+(\.\d+)?", name.strip()) is not None or len(name.split()) > 6


def with_gaps(piece: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """Return a piece of a table; columns of whole numbers that have gaps elsewhere become floats, as in pandas.

    Otherwise a piece without a gap would have the text ``1``, and a piece with one ``1.0``.
    """
    return piece.astype(dict.fromkeys(columns, float))


def raw_corpus(
    tables: Mapping[str, Iterable[pd.DataFrame]],
    columns: dict[str, str],
    class_names: list[str] | None = None,
    names: Mapping[str, str] | None = None,
) -> RawCorpus:
    """Return raw rows from tables whose columns have been checked.

    Rows without a label are dropped and counted; an evaluation split without any label is ignored, and reported.

    Args:
        tables: one table per split, in pieces, so that it need not be in memory as a whole.
        columns: the table's column for ``text`` and, if any, ``label`` and ``group``.
        class_names: names by class index where labels are indices already; else the labels' own text, sorted.
        names: what each table is called in messages; its split by default.

    Raises:
        DataError: a cell is a list or an object, a row has no group, or the labels cannot be classes.
    """
    report: dict[str, Any] = {}
    splits: dict[str, pd.DataFrame] = {}
    for name, table in tables.items():
        frame = mapped_frame(_text_pieces(table, columns, class_names is not None, (names or {}).get(name, name)))
        if "label" not in columns:
            splits[name] = frame
            continue
        unlabelled = (frame["label"] == "").to_numpy()
        if unlabelled.all() and name != "train" and len(frame):
            report[f"{name}_ignored_without_labels"] = len(frame)
            continue
        if unlabelled.any():
            report[f"{name}_rows_without_label"] = int(unlabelled.sum())
            frame = chosen_rows(frame, ~unlabelled)
        splits[name] = frame
    if "label" not in columns:
        return RawCorpus(splits=splits, report=report)
    if class_names is None:
        spellings = one_spelling(label for frame in splits.values() for label in frame["label"].unique())
        class_names = in_order(set(spellings.values()))
        _refuse_many_classes(class_names, columns["label"])
        place = {name: position for position, name in enumerate(class_names)}
        index = {label: place[name] for label, name in spellings.items()}
    else:
        _refuse_many_classes(class_names, columns["label"])
        index = {str(position): position for position in range(len(class_names))}
    splits = {name: frame.assign(label=_indices(frame["label"], index)) for name, frame in splits.items()}
    return RawCorpus(splits=splits, class_names=tuple(class_names), report=report)


def one_spelling(labels: Iterable[str]) -> dict[str, str]:
    """Return each label's name: if all are whole numbers and one is written in both ways, ``1.0`` becomes ``1``.

    pandas writes a column of whole numbers that has a gap as ``1.0``, and one without a gap as ``1``.
    """
    labels = set(labels)
    short = {label: POINT_ZERO.sub("", label) for label in labels}
    numbers = all(WHOLE_NUMBER.fullmatch(name) for name in short.values())
    return short if numbers and len(set(short.values())) < len(labels) else {label: label for label in labels}


def in_order(labels: Iterable[str]) -> list[str]:
    """Return class names in their order: whole numbers by size, other names by their characters."""
    labels = sorted(labels)
    numeric = all(WHOLE_NUMBER.fullmatch(label) for label in labels)
    return sorted(labels, key=int) if numeric else labels


def _refuse_many_classes(class_names: list[str], column: str) -> None:
    if len(class_names) > MOST_CLASSES:
        raise DataError(
            f"the column {column!r} (data.label_column) has {len(class_names):,} different values; at most "
            f"{MOST_CLASSES:,} classes are told apart: is it the column of classes?"
        )


def _text_pieces(
    table: Iterable[pd.DataFrame], columns: dict[str, str], indexed: bool, name: str
) -> Iterator[pd.DataFrame]:
    """Yield the columns in question with every cell as text; a missing one is empty."""
    start, seen = 0, set[str]()
    for piece in table:
        place = _Place(name, start, columns)
        cells = {"text": [place.text_of(row, text) for row, text in enumerate(piece[columns["text"]])]}
        if "label" in columns:
            labels = enumerate(piece[columns["label"]])
            cells["label"] = [place.label_of(row, label, indexed) for row, label in labels]
            seen |= set(cells["label"])
            _refuse_many_classes(list(seen), columns["label"])  # now, since a table may be long
        if "group" in columns:
            groups = piece[columns["group"]].tolist()
            missing = sum(_is_missing(group) or not str(group).strip() for group in groups)
            if missing:
                raise DataError(
                    f"{missing} row(s) have no group in the column {columns['group']!r} (data.group_column); rows "
                    "that belong to no group need one of their own each"
                )
            cells["group"] = [composed(HALF_CHARACTER.sub("", str(group))) for group in groups]
        yield pd.DataFrame(cells)
        start += len(piece)


@dataclass(frozen=True)
class _Place:
    """The place of a cell, for messages, and the way it becomes text."""

    table: str
    start: int
    """Rows of the table before this piece."""
    columns: dict[str, str]

    def _refuse(self, row: int, kind: str, reason: str) -> NoReturn:
        column = f"data.{kind}_column {self.columns[kind]!r}"
        raise DataError(f"{self.table}, row {self.start + row + 1}: the {kind} is {reason} ({column})")

    def text_of(self, row: int, text: Any) -> str:
        """Return a text; a list of words is joined by spaces.

        Half of a surrogate pair, which no file can hold, becomes a control character; cleaning removes and counts it.
        """
        if isinstance(text, NESTED):
            if isinstance(text, dict) or not all(isinstance(word, str) for word in text):
                self._refuse(row, "text", f"{_kind_of(text)}; a text of one piece is needed")
            text = " ".join(text)
        text = "" if _is_missing(text) else str(text)
        if len(text) > LONGEST_TEXT:
            self._refuse(row, "text", f"{len(text):,} characters long; at most {LONGEST_TEXT:,} are read")
        return HALF_CHARACTER.sub("\x00", text)

    def label_of(self, row: int, label: Any, indexed: bool) -> str:
        """A label as text; empty without a label (null, empty, or −1 among class indices)."""
        if isinstance(label, NESTED):
            self._refuse(row, "label", f"{_kind_of(label)}; one class per row is needed")
        if _is_missing(label) or (indexed and int(label) < 0):
            return ""
        if isinstance(label, float) and label.is_integer():  # a column of whole numbers with gaps is read as floats
            label = int(label)
        label = composed(HALF_CHARACTER.sub("", str(label)).strip())  # names that look alike are one
        if len(label) > LONGEST_LABEL:
            self._refuse(row, "label", f"{len(label):,} characters long; is it the column of classes?")
        return label


def _kind_of(value: Any) -> str:
    return "an object" if isinstance(value, dict) else "a list"


def _indices(labels: pd.Series, index: dict[str, int]) -> NDArray[np.int64]:
    """Return the class index of every label, piece by piece, since a mapping makes a Python object of every cell."""
    indices: list[NDArray[np.int64]] = [np.empty(0, dtype=np.int64)]
    for start in range(0, len(labels), PIECE):
        piece = labels.iloc[start : start + PIECE]
        found = piece.map(index)
        if found.isna().any():
            unknown = sorted(set(piece[found.isna()]))
            raise DataError(
                f"there is no class of index {', '.join(unknown[:5])}; the classes are 0 to {len(index) - 1}"
            )
        indices.append(np.asarray(found, dtype=np.int64))
    return np.concatenate(indices)


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value)
