"""From tables with named columns to raw rows with class indices."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_modules.errors import DataError, nearest
from data_modules.mapped import PIECE
from data_modules.sources.mapped_tables import chosen_rows, mapped_frame
from data_modules.sources.source import RawCorpus

SEPARATORS = ",;|\t"
"""What separates columns in files of one kind or another."""
WHOLE_NUMBER = re.compile(r"[+-]?\d+")


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
            raise DataError(f"{table} has no column {column!r} ({field}); {listed}{hint}")


def with_gaps(piece: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """Return a piece of a table with columns of whole numbers that have gaps elsewhere as floats, as pandas has them.

    A piece without a gap would otherwise have the text ``1`` where another has ``1.0``.
    """
    return piece.astype(dict.fromkeys(columns, float))


def raw_corpus(
    tables: Mapping[str, Iterable[pd.DataFrame]],
    columns: dict[str, str],
    class_names: list[str] | None = None,
    report: dict[str, Any] | None = None,
) -> RawCorpus:
    """Return raw rows from tables whose columns have been checked.

    Rows without a label are dropped and counted; an evaluation split without any label is ignored, and reported.

    Args:
        tables: one table per split, in pieces, so that it need not be in memory as a whole.
        columns: the table's column for ``text`` and, if any, ``label`` and ``group``.
        class_names: names by class index where labels are indices already; else the labels' own text, sorted.
        report: counts to add to.
    """
    report = dict(report or {})
    splits: dict[str, pd.DataFrame] = {}
    for name, table in tables.items():
        frame = mapped_frame(_as_text(piece, columns, indexed=class_names is not None) for piece in table)
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
        found = {label for frame in splits.values() for label in frame["label"].unique()}
        numeric = all(WHOLE_NUMBER.fullmatch(label) for label in found)
        class_names = sorted(found, key=lambda label: (int(label), label)) if numeric else sorted(found)
        index = {label: position for position, label in enumerate(class_names)}
    else:
        index = {str(position): position for position in range(len(class_names))}
    splits = {name: frame.assign(label=_indices(frame["label"], index)) for name, frame in splits.items()}
    return RawCorpus(splits=splits, class_names=tuple(class_names), report=report)


def _as_text(piece: pd.DataFrame, columns: dict[str, str], *, indexed: bool) -> pd.DataFrame:
    """Return the columns in question with every cell as text; a missing one is empty."""
    frame = pd.DataFrame({kind: piece[column].to_numpy() for kind, column in columns.items()})
    frame["text"] = ["" if _is_missing(text) else str(text) for text in frame["text"]]
    if "label" in frame:
        frame["label"] = [_label_text(label, indexed=indexed) for label in frame["label"]]
    if "group" in frame:
        missing = sum(_is_missing(group) or not str(group).strip() for group in frame["group"])
        if missing:
            raise DataError(
                f"{missing} row(s) have no group in the column {columns['group']!r} (data.group_column); rows that "
                "belong to no group need one of their own each"
            )
        frame["group"] = frame["group"].astype(str)
    return frame


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
    return value is None or (isinstance(value, float) and value != value)


def _label_text(label: Any, *, indexed: bool) -> str:
    """Return a label as text, empty where there is none (null, empty, or −1 among class indices)."""
    if _is_missing(label) or (indexed and int(label) < 0):
        return ""
    if isinstance(label, float) and label.is_integer():  # a column of whole numbers with gaps is read as floats
        label = int(label)
    return str(label).strip()
