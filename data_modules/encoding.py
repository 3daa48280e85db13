"""Token ids of a split as memory-mapped arrays, kept in the cache under a digest of all that decides them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from data_modules import tokenization
from data_modules.cache import cache_root, cached, code_digest, digest
from data_modules.config import DataConfig
from data_modules.corpora.source import SPLITS
from data_modules.tokenization import TextTokenizer

if TYPE_CHECKING:
    from data_modules.corpora.load import PreparedCorpus

TOKENIZER_FILE = "tokenizer.json"


@dataclass(frozen=True)
class EncodedSplit:
    """N encoded rows, one after the other."""

    tokens: NDArray[np.int32]
    """(sum of lengths,) token ids."""
    offsets: NDArray[np.int64]
    """(N + 1,) where each row starts in ``tokens``, and the end."""
    labels: NDArray[np.int64]
    """(N,) class indices."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(N,) tokens of each row."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class EncodedCorpus:
    """The three encoded splits and their tokenizer."""

    splits: dict[str, EncodedSplit]
    tokenizer: TextTokenizer
    folder: Path
    """Its entry in the cache."""


def pack(rows: list[list[int]], labels: NDArray[np.int64]) -> EncodedSplit:
    """Put rows of token ids one after the other."""
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    tokens = np.fromiter((token for row in rows for token in row), dtype=np.int32, count=int(offsets[-1]))
    return EncodedSplit(tokens, offsets, labels)


def encode(corpus: PreparedCorpus, config: DataConfig) -> EncodedCorpus:
    """Return the corpus as token ids, from the cache where the same was encoded before.

    A learned tokenizer sees training texts only.

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
    key = digest(code, corpus.key, identity, config.max_length)

    def build(folder: Path) -> None:
        tokenizer = pretrained or tokenization.learn(config, corpus.splits["train"]["text"][:])
        tokenizer.save(folder / TOKENIZER_FILE)
        for name in SPLITS:
            rows = corpus.splits[name]
            packed = pack(tokenizer.encode(rows["text"][:]), np.array(rows["label"][:], dtype=np.int64))
            for part in ("tokens", "offsets", "labels"):
                np.save(folder / f"{name}.{part}.npy", getattr(packed, part))

    entry = cached(cache_root(config.cache_dir), "encoded", key, build)
    splits = {
        name: EncodedSplit(
            *(np.load(entry / f"{name}.{part}.npy", mmap_mode="r") for part in ("tokens", "offsets", "labels"))
        )
        for name in SPLITS
    }
    tokenizer = pretrained or tokenization.load_learned(entry / TOKENIZER_FILE, config.max_length)
    return EncodedCorpus(splits, tokenizer, entry)
