"""From raw rows to clean, disjoint splits, with a count of everything that went.

The order matters. First, clean. Second, drop duplicates among the training rows, and training rows that repeat or
nearly repeat a given evaluation row. Third, cut the splits that are missing; because of the second step, no validation
row nearly repeats a given test row. Fourth, drop training rows that nearly repeat a row of the new splits. Last, thin.
Rows of validation and test splits that the source gives are never dropped.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_modules.cache import digest, digest_of_columns
from data_modules.cleaning import splits as splitting
from data_modules.cleaning.duplicates import contradictions_and_repeats, same_texts
from data_modules.cleaning.duplicates import near_duplicates as find_near_duplicates
from data_modules.cleaning.text import clean_text
from data_modules.config import DataConfig
from data_modules.errors import DataError
from data_modules.mapped import PIECE
from data_modules.sources.mapped_tables import chosen_rows, mapped_frame, pieces
from data_modules.sources.source import SPLITS, RawCorpus

EVALUATION_SPLITS = ("validation", "test")
WITHHELD_SIMILARITY = 0.7
"""Similarity from which a row counts as a near repeat of a row that another corpus evaluates on."""
UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")


@dataclass(kw_only=True)
class RefinedCorpus:
    """Clean splits and what is known about them."""

    splits: dict[str, pd.DataFrame]
    class_names: tuple[str, ...]
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
            Rows without labels have no classes to check.
    """
    report: dict[str, Any] = {
        "source": raw.report,
        "rows_read": {name: len(raw.splits[name]) for name in SPLITS if name in raw.splits},
    }
    rows = {name: frame.reset_index(drop=True) for name, frame in raw.splits.items()}
    class_names, contiguous = raw.class_names, raw.contiguous or config.contiguous
    del raw  # so that its file can go as soon as the rows are clean
    fingerprint = _digest_of(rows, class_names)
    if config.clean:
        rows, report["cleaning"] = _clean(rows)
    if not report["rows_read"]["train"] and all(len(rows.get(name, ())) for name in EVALUATION_SPLITS):
        return _for_evaluation(rows, report, fingerprint)
    _check_classes(rows, class_names)
    if config.deduplicate:
        rows["train"], report["duplicates"] = _drop_duplicates(rows)
    if config.minimum_class_rows > 1 and class_names:
        rows, class_names, report["rare_classes_dropped"] = _drop_rare(rows, class_names, config.minimum_class_rows)
    given = [name for name in EVALUATION_SPLITS if name in rows]
    if near_duplicates and config.near_duplicate_threshold is not None:
        rows["train"], nearly = _drop_near_duplicates(rows, given, config.near_duplicate_threshold)
    rows, report["splits"] = _cut_missing(rows, config, class_names, contiguous=contiguous)
    if near_duplicates and config.near_duplicate_threshold is not None:
        cut = [name for name in EVALUATION_SPLITS if name not in given]
        rows["train"], nearly_cut = _drop_near_duplicates(rows, cut, config.near_duplicate_threshold)
        report["near_duplicates"] = nearly | nearly_cut
    _check_classes(rows, class_names)
    split_hash = _digest_of(rows, class_names)
    if config.max_train_rows is not None:
        rows["train"], report["subset"] = _thin(rows["train"], config, len(class_names))
    if config.shuffle_words:
        rows = {name: _shuffle_words(frame, f"{config.split_seed} {name}") for name, frame in rows.items()}
    report["rows"] = {name: len(rows[name]) for name in SPLITS}
    rows = {name: rows[name].reset_index(drop=True) for name in SPLITS}
    return RefinedCorpus(
        splits=rows, class_names=class_names, report=report, fingerprint=fingerprint, split_hash=split_hash
    )


def _for_evaluation(rows: dict[str, pd.DataFrame], report: dict[str, Any], fingerprint: str) -> RefinedCorpus:
    """Return a corpus without training rows: clean, and otherwise as it is."""
    report["rows"] = {name: len(rows[name]) for name in SPLITS}
    split_hash = _digest_of(rows, ())
    return RefinedCorpus(splits=rows, class_names=(), report=report, fingerprint=fingerprint, split_hash=split_hash)


def withhold(raw: RawCorpus, held: Mapping[str, Any], as_there: Callable[[str], str]) -> RawCorpus:
    """Return a corpus of training rows without what another corpus evaluates on.

    Args:
        raw: has training rows with a ``group``.
        held: the other corpus's splits; rows of a group that its validation or test rows have go, and so do rows that
            nearly repeat such a row.
        as_there: turns a text into what it would be in the other corpus.
    """
    rows = raw.splits["train"]
    evaluation = [held[name] for name in EVALUATION_SPLITS]
    groups = {group for split in evaluation for group in split["group"][:]}
    inside = rows["group"].isin(groups).to_numpy()
    texts = [text for split in evaluation for text in split["text"][:]]
    alike = find_near_duplicates([as_there(text) for text in rows["text"]], texts, WITHHELD_SIMILARITY)
    report = {"withheld_files": int(inside.sum()), "withheld_near_copies": int((alike & ~inside).sum())}
    kept = rows[~(inside | alike)].reset_index(drop=True)
    return replace(raw, splits={"train": kept}, report=raw.report | report)


def with_more_text(corpus: RefinedCorpus, more: Mapping[str, Sequence[str]], config: DataConfig) -> RefinedCorpus:
    """Return a corpus without labels with further training texts, given by the names of their sources.

    Texts that nearly repeat one of its validation or test rows stay out, unless near copies are to be kept.
    """
    rows = {name: frame.drop(columns="label", errors="ignore") for name, frame in corpus.splits.items()}
    found = [(text, name) for name, texts in more.items() for text in texts]
    added = pd.DataFrame(found, columns=["text", "group"])
    report: dict[str, Any] = {"rows": {name: len(texts) for name, texts in more.items()}}
    if config.near_duplicate_threshold is not None:
        held = [text for name in EVALUATION_SPLITS for text in rows[name]["text"]]
        alike = find_near_duplicates(added["text"], held, config.near_duplicate_threshold)
        report["near_copies"], added = int(alike.sum()), added[~alike]
    train = mapped_frame([*pieces(rows["train"]), added[list(rows["train"].columns)].reset_index(drop=True)])
    return replace(
        corpus,
        splits=rows | {"train": train},
        class_names=(),
        report=corpus.report | {"more_text": report, "rows": corpus.report["rows"] | {"train": len(train)}},
        fingerprint=digest(corpus.fingerprint, found),
        split_hash=digest(corpus.split_hash, found),
    )


def _digest_of(rows: dict[str, pd.DataFrame], class_names: tuple[str, ...]) -> str:
    columns = {name: {str(column): rows[name][column] for column in rows[name]} for name in rows}
    return digest_of_columns(class_names, columns)


def _clean(rows: dict[str, pd.DataFrame]) -> tuple[dict[str, pd.DataFrame], dict[str, dict[str, int]]]:
    cleaned, report = {}, {}
    for name, frame in rows.items():
        counts: Counter[str] = Counter()
        cleaned[name] = mapped_frame(_cleaned(piece, name, counts) for piece in pieces(frame))
        report[name] = dict(sorted(counts.items()))
    return cleaned, report


def _cleaned(piece: pd.DataFrame, name: str, counts: Counter[str]) -> pd.DataFrame:
    """Clean a piece of a split; empty rows go from the training rows alone."""
    piece = piece.assign(text=[clean_text(text, counts) for text in piece["text"].tolist()])
    empty = piece["text"] == ""
    counts[f"empty_rows_{'removed' if name == 'train' else 'kept'}"] += int(empty.sum())
    return piece[~empty] if name == "train" else piece


def _labels(rows: pd.DataFrame) -> NDArray[np.int64]:
    """Return the class index of every row, (N,); rows without labels are all of one class."""
    return rows["label"].to_numpy() if "label" in rows else np.zeros(len(rows), dtype=np.int64)


def _check_classes(rows: dict[str, pd.DataFrame], class_names: tuple[str, ...]) -> None:
    if not len(rows["train"]):
        raise DataError("no training rows are left after cleaning")
    if not class_names:
        return
    present = set(rows["train"]["label"].unique().tolist())
    if len(present) < 2:
        raise DataError(
            f"the training rows have one class only ({class_names[present.pop()]!r}); at least two are needed"
        )
    for name in EVALUATION_SPLITS:
        if name in rows:
            foreign = sorted(set(rows[name]["label"].unique().tolist()) - present)
            if foreign:
                names = ", ".join(repr(class_names[label]) for label in foreign)
                raise DataError(f"the {name} rows have a label that no training row has: {names}")


def _drop_duplicates(rows: dict[str, pd.DataFrame]) -> tuple[pd.DataFrame, dict[str, int]]:
    """Drop training rows whose text has two labels, repeats an earlier one, or is in an evaluation split."""
    train = rows["train"]
    given = [name for name in EVALUATION_SPLITS if name in rows]
    texts = same_texts([rows[name]["text"] for name in ("train", *given)])
    train_texts, ends = texts[: len(train)], np.cumsum([len(rows[name]) for name in ("train", *given)])
    contradictory, repeated = contradictions_and_repeats(train_texts, _labels(train))
    report = {
        "train_contradictory_labels": int(contradictory.sum()),
        "train_repeated": int((repeated & ~contradictory).sum()),
    }
    kept = ~contradictory & ~repeated
    for name, start, end in zip(given, ends, ends[1:], strict=False):
        copies = np.isin(train_texts, texts[start:end])
        report[f"train_copies_of_{name}"] = int((copies & kept).sum())
        kept &= ~copies
    if not kept.any():
        two = int(contradictory.sum())
        other = "" if two == len(train) else f", {len(train) - two} repeat an earlier, validation or test row"
        raise DataError(
            f"no training row is left: of {len(train)}, {two} have a text with two labels{other} "
            "(data.deduplicate false keeps them)"
        )
    if len(given) == 2:
        shared = np.isin(texts[ends[0] : ends[1]], texts[ends[1] : ends[2]])
        report["validation_rows_that_are_in_test"] = int(shared.sum())
    return chosen_rows(train, kept), report


def _drop_rare(
    rows: dict[str, pd.DataFrame], class_names: tuple[str, ...], minimum: int
) -> tuple[dict[str, pd.DataFrame], tuple[str, ...], dict[str, int]]:
    """Drop classes with fewer than ``minimum`` training rows, and number the others anew.

    Raises:
        DataError: a given evaluation split has rows of such a class.
    """
    counts = np.bincount(rows["train"]["label"].to_numpy(), minlength=len(class_names))
    kept = counts >= minimum
    for name in EVALUATION_SPLITS:
        lost = set() if name not in rows else set(rows[name]["label"].unique()) & set(np.flatnonzero(~kept))
        if lost:
            raise DataError(
                f"the {name} rows have classes with fewer than {minimum} training rows (data.minimum_class_rows), "
                f"such as {class_names[min(lost)]!r}; the rows of a given split are never dropped"
            )
    number = np.cumsum(kept) - 1
    left = {"train": chosen_rows(rows["train"], kept[rows["train"]["label"].to_numpy()])}
    left = {name: frame.assign(label=number[frame["label"].to_numpy()]) for name, frame in (rows | left).items()}
    dropped = {class_names[index]: int(counts[index]) for index in np.flatnonzero(~kept)}
    return left, tuple(name for name, keep in zip(class_names, kept, strict=True) if keep), dropped


def _cut_missing(
    rows: dict[str, pd.DataFrame], config: DataConfig, class_names: tuple[str, ...], *, contiguous: bool
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
        if contiguous:
            rows[name], rows["train"] = _cut_end(train, fraction / (1 - taken), name)
            report[name] = "cut from the end"
            taken += fraction
            continue
        groups = pd.factorize(train["group"], sort=True)[0] if "group" in train else None
        try:
            chosen = splitting.cut(
                _labels(train), groups, fraction / (1 - taken), config.split_seed, class_names or ("text",)
            )
        except DataError as error:
            raise DataError(f"the {name} split is missing and cannot be cut: {error}") from None
        rows[name], rows["train"] = chosen_rows(train, chosen), chosen_rows(train, ~chosen)
        how = ("stratified" if class_names else "") + (" by group" if groups is not None else "")
        report[name] = ", ".join(filter(None, ("cut", how.strip(), f"seed {config.split_seed}")))
        taken += fraction
    return rows, report


def _cut_end(train: pd.DataFrame, fraction: float, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the last rows, at least one, and the others."""
    if len(train) < 2:
        raise DataError(f"the {name} split is missing and cannot be cut: there is {len(train)} training row")
    last = np.arange(len(train)) >= len(train) - max(1, round(fraction * len(train)))
    return chosen_rows(train, last), chosen_rows(train, ~last)


def _drop_near_duplicates(
    rows: dict[str, pd.DataFrame], names: Sequence[str], threshold: float
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Drop training rows that nearly repeat a row of one of the splits ``names``."""
    train, report = rows["train"], {"threshold": threshold}
    unwanted = np.zeros(len(train), dtype=bool)
    for name in names:
        found = find_near_duplicates(train["text"], rows[name]["text"], threshold)
        report[f"train_near_copies_of_{name}"] = int((found & ~unwanted).sum())
        unwanted |= found
    if len(train) and unwanted.all():
        raise DataError(
            f"all {len(train)} training rows nearly repeat a validation or test row "
            f"(data.near_duplicate_threshold {threshold}; null keeps them)"
        )
    return chosen_rows(train, ~unwanted), report


def _thin(train: pd.DataFrame, config: DataConfig, classes: int) -> tuple[pd.DataFrame, dict[str, int]]:
    assert config.max_train_rows is not None
    if config.max_train_rows < classes:
        raise DataError(f"data.max_train_rows is {config.max_train_rows}, fewer than the {classes} classes")
    kept = np.zeros(len(train), dtype=bool)
    kept[splitting.subset(_labels(train), config.max_train_rows, config.split_seed)] = True
    return chosen_rows(train, kept), {"max_train_rows": config.max_train_rows, "left_out": int((~kept).sum())}


def _shuffle_words(frame: pd.DataFrame, seed: str) -> pd.DataFrame:
    """Shuffle the words of every text, or its characters in a script without spaces."""
    starts = range(0, max(1, len(frame)), PIECE)
    return mapped_frame(
        piece.assign(text=[_shuffled(text, f"{seed} {start + row}") for row, text in enumerate(piece["text"])])
        for start, piece in zip(starts, pieces(frame), strict=True)
    )


def _shuffled(text: str, seed: str) -> str:
    unspaced = UNSPACED.search(text) is not None
    units = list(text.replace(" ", "")) if unspaced else text.split()
    random.Random(seed).shuffle(units)
    return ("" if unspaced else " ").join(units)
