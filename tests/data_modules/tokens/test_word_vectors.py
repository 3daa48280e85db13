"""Word vectors in the two text formats, and lines that are damaged."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from data_modules.errors import DataError
from data_modules.tokens.word_vectors import read_word_vectors

VOCABULARY = {"<pad>": 0, "river": 1, "bridge": 2, "new york": 3, "2": 4}
LINES = "the 0.1 0.2 0.3\nriver 1 2 3\nbridge -1e-1 0 4.5\nriver 9 9 9\nnew york 5 5 5\n"


@pytest.mark.parametrize("header", ["", "5 3\n"], ids=["GloVe", "word2vec"])
@pytest.mark.parametrize("packed", [False, True])
def test_both_formats_give_the_vectors_of_the_words_that_are_known(tmp_path: Path, header: str, packed: bool) -> None:
    path = tmp_path / ("vectors.txt.gz" if packed else "vectors.txt")
    path.write_bytes(gzip.compress((header + LINES).encode()) if packed else (header + LINES).encode())
    found = read_word_vectors(path, VOCABULARY)
    assert found.ids.tolist() == [1, 2, 3] and found.width == 3
    assert np.array_equal(found.values, np.array([[1, 2, 3], [-0.1, 0, 4.5], [5, 5, 5]], dtype=np.float32))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"river 1 2 3\nbridge 1 2\n", "line 2, is damaged: it has 2 numbers and not 3"),
        (b"5 3\nriver 1 2 3\nbridge 1 2\n", "line 3, is damaged"),
        (b"river 1 x 3\n", "line 1, is damaged: could not convert"),
        (b"river 1 nan 3\n", "line 1, is damaged: a number is not finite"),
        ("caf\xe9 1 2 3\n".encode("latin-1"), "is not UTF-8 text"),
        (b"lake 1 2 3\n", "has no word of the vocabulary"),
    ],
)
def test_damaged_files_are_refused_with_one_line(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "vectors.txt").write_bytes(content)
    with pytest.raises(DataError, match=expected) as refused:
        read_word_vectors(tmp_path / "vectors.txt", VOCABULARY)
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(DataError, match="there is no file"):
        read_word_vectors(Path("none.txt"), VOCABULARY)
