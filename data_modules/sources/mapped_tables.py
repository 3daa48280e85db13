"""Tables whose text lies in temporary files that are mapped into memory (:mod:`data_modules.mapped`)."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pandas.api.types import is_integer_dtype

from data_modules.mapped import PIECE, temporary_file


def pieces(frame: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield a table in pieces of at most ``PIECE`` rows; an empty table is one piece."""
    for start in range(0, max(1, len(frame)), PIECE):
        yield frame.iloc[start : start + PIECE]


def mapped_frame(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Write tables one below the other to a temporary file; return them as one table whose text is mapped from it.

    Args:
        frames: at least one table; all have the same columns, of text or whole numbers.
    """
    frames = iter(frames)
    first = next(frames)
    kinds = {name: pa.int64() if is_integer_dtype(first[name]) else pa.large_string() for name in first.columns}
    schema = pa.schema(kinds)
    with temporary_file() as file:
        with pa.ipc.new_file(file, schema) as writer:
            for frame in chain([first], frames):
                writer.write_table(pa.Table.from_pandas(frame, schema=schema, preserve_index=False))
        file.flush()
        content = pa.py_buffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return pa.ipc.open_file(pa.BufferReader(content)).read_all().to_pandas()


def chosen_rows(frame: pd.DataFrame, mask: NDArray[np.bool_]) -> pd.DataFrame:
    """Return the rows of a table where ``mask`` is true, mapped from a temporary file."""
    starts = range(0, max(1, len(frame)), PIECE)
    return mapped_frame(piece[mask[start : start + PIECE]] for start, piece in zip(starts, pieces(frame), strict=True))
