"""Word vectors in the text formats of GloVe and word2vec, read for the words of a vocabulary alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_modules.errors import DataError
from data_modules.sources.opened import located, plain_file, refuse_long_lines


@dataclass(frozen=True)
class WordVectors:
    """The vectors that a file has for the words of a vocabulary."""

    ids: NDArray[np.int64]
    """(n,) ids of the words that were found, ascending."""
    values: NDArray[np.float32]
    """(n, d) their vectors."""

    @property
    def width(self) -> int:
        """d, numbers of a vector."""
        return self.values.shape[1]


def read_word_vectors(path: Path, vocabulary: Mapping[str, int]) -> WordVectors:
    """Read the vectors of a vocabulary's words; of a word that the file has twice, the first counts.

    A line is a word and its d numbers, separated by spaces (GloVe, Pennington et al. 2014). A first line of two numbers
    says how many words there are and d (word2vec, Mikolov et al. 2013, arXiv:1301.3781). The file may be compressed.

    Raises:
        DataError: the file is missing, empty or no UTF-8 text, a line is damaged, or no word is in the vocabulary.
    """
    if not path.is_file():
        raise DataError(f"model.word_vectors: there is no file {path}")
    found: dict[int, NDArray[np.float32]] = {}
    width: int | None = None
    with plain_file(path, "utf-8") as plain:
        refuse_long_lines(plain)
        try:
            with plain.open(encoding="utf-8", newline="\n") as file:
                for number, line in enumerate(file, start=1):
                    parts = line.rstrip().split(" ")
                    if number == 1 and len(parts) == 2 and all(part.isdigit() for part in parts):
                        width = int(parts[1])
                        continue
                    width = width or len(parts) - 1
                    if width < 1 or len(parts) <= width:
                        raise DataError(_damaged(path, number, f"it has {len(parts) - 1} numbers and not {width}"))
                    word = vocabulary.get(" ".join(parts[:-width]))
                    if word is not None and word not in found:
                        found[word] = _numbers(path, number, parts[-width:])
        except UnicodeDecodeError as error:
            raise DataError(located(path, error)) from error
    if width is None:
        raise DataError(f"{path.name} (model.word_vectors) is empty")
    if not found:
        raise DataError(
            f"{path.name} (model.word_vectors) has no word of the vocabulary; is data.tokenizer one of words, and is "
            "the case of its words that of the file?"
        )
    ids = np.array(sorted(found), dtype=np.int64)
    return WordVectors(ids, np.stack([found[word] for word in ids.tolist()]))


def _numbers(path: Path, number: int, parts: list[str]) -> NDArray[np.float32]:
    try:
        values = [float(part) for part in parts]
    except ValueError as error:
        raise DataError(_damaged(path, number, str(error))) from None
    if not all(map(math.isfinite, values)):
        raise DataError(_damaged(path, number, "a number is not finite"))
    return np.array(values, dtype=np.float32)


def _damaged(path: Path, number: int, reason: str) -> str:
    return f"{path.name} (model.word_vectors), line {number}, is damaged: {reason}"
