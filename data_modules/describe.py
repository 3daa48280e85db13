"""What a prepared corpus looks like: counts, lengths, unknown words, duplicates between splits, rows to read."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from data_modules.cleaning.duplicates import near_duplicates, same_text_key
from data_modules.cleaning.prepared import PreparedCorpus, prepare
from data_modules.config import DataConfig
from data_modules.errors import DataError
from data_modules.sources.source import SPLITS
from data_modules.tokens.encoding import EncodedCorpus, encode

if TYPE_CHECKING:
    from datasets import Dataset

QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.95, 1.0)
DESCRIBED_THRESHOLD = 0.7  # similarity that counts as nearly the same where the configuration keeps such rows


@dataclass(frozen=True, kw_only=True)
class CorpusDescription:
    """Facts about a prepared corpus, ready to print."""

    corpus: PreparedCorpus
    classes: dict[str, dict[str, int]]
    """Rows of each class, by split; empty if rows have no labels."""
    groups: dict[str, int]
    """Number of groups, by split; empty without groups."""
    lengths: dict[str, dict[float, int]]
    """Quantiles of the tokens of a row before truncation, by split."""
    truncated: dict[str, float]
    """Share of rows longer than ``max_length``, by split."""
    vocabulary_size: int
    unknown_rate: dict[str, float]
    """Share of tokens that the vocabulary lacks, by split."""
    overlaps: dict[str, dict[str, int]]
    """Per pair of splits, such as ``train / test``: rows of the first that are ``exact`` or ``near`` duplicates of a
    row of the second, and ``groups`` that are in both."""
    examples: dict[str, list[str]]
    """A few training rows of each class, or of the whole split (under the name ``train``)."""


def describe(config: DataConfig, examples: int = 3) -> CorpusDescription:
    """Prepare, encode and measure the corpus that a configuration names.

    Args:
        config: the corpus and what is done to it.
        examples: training rows to show of each class.

    Raises:
        DataError: the corpus cannot be prepared.
    """
    corpus = prepare(config)
    encoded = encode(corpus, config)
    lengths, unknown = _token_statistics(corpus, encoded)
    splits = corpus.splits
    return CorpusDescription(
        corpus=corpus,
        classes={name: _class_counts(splits[name], corpus.class_names) for name in SPLITS},
        groups={name: len(set(splits[name]["group"][:])) for name in SPLITS if "group" in splits[name].column_names},
        lengths={name: dict(zip(QUANTILES, np.quantile(counts, QUANTILES, method="nearest").tolist(), strict=True))
                 for name, counts in lengths.items()},
        truncated={name: float(np.mean(counts > config.max_length)) for name, counts in lengths.items()},
        vocabulary_size=encoded.tokenizer.vocabulary_size,
        unknown_rate=unknown,
        overlaps=_overlaps(corpus, config.near_duplicate_threshold or DESCRIBED_THRESHOLD),
        examples=_examples(corpus, examples),
    )  # fmt: skip


def _class_counts(rows: Dataset, class_names: tuple[str, ...]) -> dict[str, int]:
    if not class_names:
        return {}
    counts = np.bincount(rows["label"][:], minlength=len(class_names)).tolist()
    return dict(zip(class_names, counts, strict=True))


def _token_statistics(corpus: PreparedCorpus, encoded: EncodedCorpus) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Return the tokens of every row before truncation, and the share of unknown tokens, by split."""
    backend = type(encoded.tokenizer.backend).from_str(encoded.tokenizer.backend.to_str())
    backend.no_truncation()
    unknown_id = encoded.tokenizer.unknown_id
    lengths, unknown = {}, {}
    for name in SPLITS:
        rows = [encoding.ids for encoding in backend.encode_batch_fast(corpus.splits[name]["text"][:])]
        lengths[name] = np.array([len(row) for row in rows])
        missed = sum(row.count(unknown_id) for row in rows) if unknown_id is not None else 0
        unknown[name] = missed / max(1, int(lengths[name].sum()))
    return lengths, unknown


def _overlaps(corpus: PreparedCorpus, threshold: float) -> dict[str, dict[str, int]]:
    found = {}
    for first, second in combinations(SPLITS, 2):
        texts, others = (corpus.splits[name]["text"][:] for name in (first, second))
        seen = {same_text_key(text) for text in others}
        found[f"{first} / {second}"] = {"exact": sum(same_text_key(text) in seen for text in texts)}
        if "near_duplicates" in corpus.report or corpus.source != "embedded":
            with suppress(DataError):  # rows of one template, whose comparison would not end
                found[f"{first} / {second}"]["near"] = int(near_duplicates(texts, others, threshold).sum())
        if "group" in corpus.splits[first].column_names and "group" in corpus.splits[second].column_names:
            groups = (set(corpus.splits[name]["group"][:]) for name in (first, second))
            found[f"{first} / {second}"]["groups"] = len(set.intersection(*groups))
    return found


def _examples(corpus: PreparedCorpus, count: int) -> dict[str, list[str]]:
    train = corpus.splits["train"]
    names = corpus.class_names or ("train",)
    texts: dict[str, list[str]] = {name: [] for name in names}
    labels = train["label"][:] if corpus.class_names else [0] * len(train)
    rows: list[tuple[str, int]] = list(zip(train["text"][:], labels, strict=True))
    random.Random(0).shuffle(rows)
    for text, label in rows:
        shown = texts[names[label]]
        if len(shown) < count:
            shown.append(text)
    return texts


def flat_counts(report: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return a nested report as lines of ``(dotted name, value)``."""
    lines: list[tuple[str, str]] = []
    for name, value in report.items():
        dotted = f"{prefix}{name}"
        lines.extend(flat_counts(value, f"{dotted}.") if isinstance(value, dict) else [(dotted, str(value))])
    return lines
