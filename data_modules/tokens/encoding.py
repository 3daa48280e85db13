"""Token ids of a split as memory-mapped arrays, kept in the cache under a digest of all that decides them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from data_modules.cache import cache_root, cached, code_digest, digest
from data_modules.config import DataConfig
from data_modules.mapped import PIECE, GrowingArray, mapped_integers
from data_modules.sources.source import SPLITS
from data_modules.tokens import tokenization
from data_modules.tokens.tokenization import TextTokenizer

if TYPE_CHECKING:
    from datasets import Dataset

    from data_modules.cleaning.prepared import PreparedCorpus

TOKENIZER_FILE = "tokenizer.json"
PARTS: dict[str, type[np.signedinteger[Any]]] = {"tokens": np.int32, "offsets": np.int64, "labels": np.int64}
"""Arrays of a split; ``labels`` only if rows have them."""


@dataclass(frozen=True)
class EncodedSplit:
    """N encoded rows, one after the other."""

    tokens: NDArray[np.int32]
    """(sum of lengths,) token ids."""
    offsets: NDArray[np.int64]
    """(N + 1,) where each row starts in ``tokens``, and the end."""
    labels: NDArray[np.int64] | None
    """(N,) class indices; None if rows have no labels."""

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """(N,) tokens of each row, in a mapped file as the rest is."""
        return np.subtract(self.offsets[1:], self.offsets[:-1], out=mapped_integers(len(self)))

    def __len__(self) -> int:
        return len(self.offsets) - 1


@dataclass(frozen=True)
class EncodedCorpus:
    """The three encoded splits and their tokenizer."""

    splits: dict[str, EncodedSplit]
    tokenizer: TextTokenizer
    folder: Path
    """Its entry in the cache."""


def pack(rows: list[list[int]], labels: NDArray[np.int64] | None) -> EncodedSplit:
    """Put rows of token ids one after the other."""
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    tokens = np.fromiter((token for row in rows for token in row), dtype=np.int32, count=int(offsets[-1]))
    return EncodedSplit(tokens, offsets, labels)


def write_encoded(rows: Dataset, tokenizer: TextTokenizer, folder: Path, name: str, *, documents: bool = False) -> None:
    """Tokenise a split and write its arrays as ``<name>.<part>.npy``; memory holds ``PIECE`` rows at a time.

    With ``documents`` a row is whole, ends in ``<eos>`` and has no label. Then ``<name>.bytes.npy`` holds the number of
    UTF-8 bytes of the split, with one for the end of each document.
    """
    labelled = "label" in rows.column_names and not documents
    cut, size = tokenizer.encode_documents if documents else tokenizer.encode, len(rows)
    with ExitStack() as stack:
        parts = {
            part: stack.enter_context(GrowingArray(folder / f"{name}.{part}.npy", kind))
            for part, kind in PARTS.items()
            if labelled or part != "labels"
        }
        parts["offsets"].append(np.zeros(1, dtype=np.int64))
        for start in range(0, len(rows), PIECE):
            piece = rows[start : start + PIECE]
            packed = pack(cut(piece["text"]), None)
            size += sum(len(text.encode()) for text in piece["text"]) if documents else 0
            parts["offsets"].append(parts["tokens"].length + packed.offsets[1:])
            parts["tokens"].append(packed.tokens)
            if labelled:
                parts["labels"].append(np.array(piece["label"], dtype=np.int64))
    if documents:
        np.save(folder / f"{name}.bytes.npy", np.array(size))


def encode(corpus: PreparedCorpus, config: DataConfig, *, documents: bool = False) -> EncodedCorpus:
    """Return the corpus as token ids, from the cache if it was encoded before.

    A learned tokenizer sees training texts only.

    Args:
        corpus: the clean splits.
        config: tokenizer and, unless rows are documents, the length at which they are cut.
        documents: whether rows are whole documents, each with ``<eos>`` at its end.

    Raises:
        DataError: the tokenizer is unknown or cannot be loaded.
    """
    learned = tokenization.is_learned(config)
    pretrained = None if learned else tokenization.load_pretrained(config)
    code = code_digest([Path(__file__), Path(tokenization.__file__)])
    identity = (
        (config.tokenizer, config.vocabulary_size, config.lowercase)
        if pretrained is None
        else pretrained.backend.to_str()
    )
    kind = ["documents"] if documents else [config.max_length]
    key = digest(code, corpus.key, identity, *kind)

    def build(folder: Path) -> None:
        tokenizer = pretrained or tokenization.learn(config, _texts(corpus.splits["train"]), documents=documents)
        tokenizer.save(folder / TOKENIZER_FILE)
        for name in SPLITS:
            write_encoded(corpus.splits[name], tokenizer, folder, name, documents=documents)

    entry = cached(cache_root(config.cache_dir), "encoded", key, build)
    splits = {name: _read_split(entry, name) for name in SPLITS}
    tokenizer = pretrained or tokenization.load_learned(entry / TOKENIZER_FILE, config.max_length)
    return EncodedCorpus(splits, tokenizer, entry)


def _read_split(entry: Path, name: str) -> EncodedSplit:
    labels = entry / f"{name}.labels.npy"
    return EncodedSplit(
        np.load(entry / f"{name}.tokens.npy", mmap_mode="r"),
        np.load(entry / f"{name}.offsets.npy", mmap_mode="r"),
        np.load(labels, mmap_mode="r") if labels.is_file() else None,
    )


def _texts(rows: Dataset) -> Iterator[str]:
    for start in range(0, len(rows), PIECE):
        yield from rows[start : start + PIECE]["text"]
