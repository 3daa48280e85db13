"""From raw rows to clean, disjoint splits, with a count of everything that went.

The order matters: clean, then drop duplicates among the training rows and training copies of given evaluation rows,
and those that nearly repeat one, then cut the splits that are missing, so that no validation row nearly repeats a given
test row, then drop training rows that nearly repeat a row of these, then thin. Rows of validation and test splits that
the source gives are never dropped.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from data_modules import splits as splitting
from data_modules.cache import digest
from data_modules.cleaning import clean_text
from data_modules.config import DataConfig
from data_modules.corpora.source import SPLITS, RawCorpus
from data_modules.duplicates import near_duplicates as find_near_duplicates
from data_modules.duplicates import same_text_key
from data_modules.errors import DataError

EVALUATION_SPLITS = ("validation", "test")
UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")


@dataclass(kw_only=True)
class RefinedCorpus:
    """Clean splits and what is known about them."""

    splits: dict[str, pd.DataFrame]
    report: dict[str, Any]
    fingerprint: str
    split_hash: str


def refine(raw: RawCorpus, config: DataConfig, *, near_duplicates: bool = True) -> RefinedCorpus:
    """Clean, deduplicate, cut and thin a raw corpus.

    Args:
        raw: rows of the source.
        config: what to do.
        near_duplicates: whether near duplicates mean anything in this source.

    Raises:
        DataError: no rows, one class only, a class in an evaluation split that the training rows lack, or too few rows.
    """
    report: dict[str, Any] = {
        "source": raw.report,
        "rows_read": {name: len(raw.splits[name]) for name in SPLITS if name in raw.splits},
    }
    rows = {name: frame.reset_index(drop=True) for name, frame in raw.splits.items()}
    fingerprint = _digest_of(rows, raw.class_names)
    if config.clean:
        rows, report["cleaning"] = _clean(rows)
    _check_classes(rows, raw.class_names)
    if config.deduplicate:
        rows["train"], report["duplicates"] = _drop_duplicates(rows)
    given = [name for name in EVALUATION_SPLITS if name in rows]
    if near_duplicates and config.near_duplicate_threshold is not None:
        rows["train"], nearly = _drop_near_duplicates(rows, given, config.near_duplicate_threshold)
    rows, report["splits"] = _cut_missing(rows, config, raw.class_names)
    if near_duplicates and config.near_duplicate_threshold is not None:
        cut = [name for name in EVALUATION_SPLITS if name not in given]
        rows["train"], nearly_cut = _drop_near_duplicates(rows, cut, config.near_duplicate_threshold)
        report["near_duplicates"] = nearly | nearly_cut
    _check_classes(rows, raw.class_names)
    split_hash = _digest_of(rows, raw.class_names)
    if config.max_train_rows is not None:
        rows["train"], report["subset"] = _thin(rows["train"], config, len(raw.class_names))
    if config.shuffle_words:
        rows = {name: _shuffle_words(frame, f"{config.split_seed} {name}") for name, frame in rows.items()}
    report["rows"] = {name: len(rows[name]) for name in SPLITS}
    rows = {name: rows[name].reset_index(drop=True) for name in SPLITS}
    return RefinedCorpus(splits=rows, report=report, fingerprint=fingerprint, split_hash=split_hash)


def _digest_of(rows: dict[str, pd.DataFrame], class_names: tuple[str, ...]) -> str:
    columns = {name: {column: rows[name][column].tolist() for column in rows[name]} for name in sorted(rows)}
    return digest(class_names, columns)


def _clean(rows: dict[str, pd.DataFrame]) -> tuple[dict[str, pd.DataFrame], dict[str, dict[str, int]]]:
    cleaned, report = {}, {}
    for name, frame in rows.items():
        counts: Counter[str] = Counter()
        frame = frame.assign(text=[clean_text(text, counts) for text in frame["text"]])
        empty = frame["text"] == ""
        if name == "train":
            frame = frame[~empty]
            counts["empty_rows_removed"] = int(empty.sum())
        else:
            counts["empty_rows_kept"] = int(empty.sum())
        cleaned[name], report[name] = frame, dict(sorted(counts.items()))
    return cleaned, report


def _check_classes(rows: dict[str, pd.DataFrame], class_names: tuple[str, ...]) -> None:
    present = set(rows["train"]["label"])
    if not present:
        raise DataError("no training rows are left after cleaning")
    if len(present) < 2:
        raise DataError(
            f"the training rows have one class only ({class_names[present.pop()]!r}); at least two are needed"
        )
    for name in EVALUATION_SPLITS:
        if name in rows:
            foreign = sorted(set(rows[name]["label"]) - present)
            if foreign:
                names = ", ".join(repr(class_names[label]) for label in foreign)
                raise DataError(f"the {name} rows have a label that no training row has: {names}")


def _drop_duplicates(rows: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame, dict[str, int]]:
    """Drop training rows whose text has two labels, repeats an earlier one, or stands in an evaluation split."""
    train, report = rows["train"], {}
    keys = train["text"].map(same_text_key)
    labels = train.groupby(keys)["label"].transform("nunique")
    for name, unwanted in (("contradictory_labels", labels > 1), ("repeated", (labels == 1) & keys.duplicated())):
        report[f"train_{name}"] = int(unwanted.sum())
    kept = (labels == 1) & ~keys.duplicated()
    for name in EVALUATION_SPLITS:
        if name in rows:
            copies = keys.isin(set(rows[name]["text"].map(same_text_key)))
            report[f"train_copies_of_{name}"] = int((copies & kept).sum())
            kept &= ~copies
    return train[kept], report


def _cut_missing(
    rows: dict[str, pd.DataFrame], config: DataConfig, class_names: tuple[str, ...]
) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    rows = dict(rows)
    report = dict.fromkeys(rows, "given")
    missing = [name for name in ("test", "validation") if name not in rows]
    taken = 0.0
    for name in missing:
        fraction = getattr(config, f"{name}_fraction")
        if taken + fraction >= 1:
            raise DataError(
                "data.validation_fraction and data.test_fraction leave no training rows; they must sum to < 1"
            )
        train = rows["train"]
        names = np.array(class_names, dtype=object)[train["label"].to_numpy()]
        groups = train["group"].to_numpy(dtype=str) if "group" in train else None
        try:
            chosen = splitting.cut(names.astype(str), groups, fraction / (1 - taken), config.split_seed)
        except DataError as error:
            raise DataError(f"the {name} split is missing and cannot be cut: {error}") from None
        rows[name], rows["train"] = train[chosen], train[~chosen]
        report[name] = f"cut, stratified{' by group' if groups is not None else ''}, seed {config.split_seed}"
        taken += fraction
    return rows, report


def _drop_near_duplicates(
    rows: dict[str, pd.DataFrame], names: Sequence[str], threshold: float
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Drop training rows that nearly repeat a row of one of the splits ``names``."""
    train, report = rows["train"], {"threshold": threshold}
    texts = train["text"].tolist()
    unwanted = np.zeros(len(texts), dtype=bool)
    for name in names:
        found = find_near_duplicates(texts, rows[name]["text"].tolist(), threshold)
        report[f"train_near_copies_of_{name}"] = int((found & ~unwanted).sum())
        unwanted |= found
    return train[~unwanted], report


def _thin(train: pd.DataFrame, config: DataConfig, classes: int) -> tuple[pd.DataFrame, dict[str, int]]:
    assert config.max_train_rows is not None
    if config.max_train_rows < classes:
        raise DataError(f"data.max_train_rows is {config.max_train_rows}, fewer than the {classes} classes")
    kept = splitting.subset(train["label"].to_numpy(), config.max_train_rows, config.split_seed)
    return train.iloc[kept], {"max_train_rows": config.max_train_rows, "left_out": len(train) - len(kept)}


def _shuffle_words(frame: pd.DataFrame, seed: str) -> pd.DataFrame:
    """Shuffle the words of every text, or its characters in a script without spaces."""
    shuffled = []
    for index, text in enumerate(frame["text"]):
        unspaced = UNSPACED.search(text) is not None
        units = list(text.replace(" ", "")) if unspaced else text.split()
        random.Random(f"{seed} {index}").shuffle(units)
        shuffled.append(("" if unspaced else " ").join(units))
    return frame.assign(text=shuffled)
