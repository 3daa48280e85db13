"""A file of generated rows of any number, written piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

CLASSES = 5
WORDS = 20_000
SHORTEST, LONGEST = 6, 24
"""Words of a row."""
PIECE = 50_000
"""Rows that are made at a time."""
MARKS = 200
"""Words of the vocabulary that tell the class, so that there is something to learn."""


def write_rows(path: Path, rows: int, seed: int) -> Path:
    """Write ``rows`` distinct rows as Parquet, columns ``text`` and ``label``, and return the path.

    Words are drawn by Zipf's law (rank r with a weight of 1/r), as in language; one word in each row tells its class.
    """
    schema = pa.schema({"text": pa.string(), "label": pa.string()})
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for piece in _pieces(rows, seed):
            writer.write_table(pa.table(piece, schema=schema))
    return path


def _pieces(rows: int, seed: int) -> Iterator[dict[str, list[str]]]:
    generator = np.random.default_rng(seed)
    words = np.array([f"w{rank}" for rank in range(WORDS)], dtype=object)
    cumulated = np.cumsum(1 / np.arange(1, WORDS + 1))
    for start in range(0, rows, PIECE):
        count = min(PIECE, rows - start)
        labels = generator.integers(CLASSES, size=count)
        marks = labels * (MARKS // CLASSES) + generator.integers(MARKS // CLASSES, size=count)
        lengths = generator.integers(SHORTEST, LONGEST, size=count, endpoint=True)
        ends = np.cumsum(lengths)
        drawn = words[np.searchsorted(cumulated, generator.random(ends[-1]) * cumulated[-1])].tolist()
        texts = [
            f"mark{mark} {' '.join(drawn[end - length : end])}"
            for mark, length, end in zip(marks.tolist(), lengths.tolist(), ends.tolist(), strict=True)
        ]
        yield {"text": texts, "label": [f"class {label}" for label in labels.tolist()]}
