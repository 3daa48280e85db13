"""Arrays in temporary files that are mapped into memory: the system may take their pages back at any time.

The files have no name and vanish with the last reference. They are in the folder for temporary files, which ``$TMPDIR``
moves; if that folder itself is held in memory, nothing is saved. Their space is reserved before they are mapped: a page
without room on a full disk would kill the process ("bus error").
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from data_modules.errors import DataError

PIECE = 20_000
"""Rows that are held in memory at a time."""


ZEROS = bytes(1 << 20)


@contextmanager
def temporary_file() -> Iterator[IO[bytes]]:
    """Give a temporary file without a name.

    Raises:
        DataError: the folder for temporary files has no room, or cannot be written.
    """
    try:
        with tempfile.TemporaryFile() as file:
            yield file
    except OSError as error:
        raise DataError(
            f"a temporary file cannot be written in {tempfile.gettempdir()} ({error.strerror or error}); "
            "name a folder with more room by the environment variable TMPDIR"
        ) from error


def mapped_integers(length: int) -> NDArray[np.int64]:
    """Return ``(length,)`` zeros that lie in a temporary file.

    Raises:
        DataError: there is no room for it.
    """
    size = max(1, length) * np.dtype(np.int64).itemsize
    with temporary_file() as file:
        for start in range(0, size, len(ZEROS)):  # written, not left out, so that the room is there
            file.write(ZEROS[: size - start])
        file.flush()
        return np.frombuffer(mmap.mmap(file.fileno(), size), dtype=np.int64)[:length]


def mapped_permutation(length: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return ``generator.permutation(length)``, the same numbers, in a temporary file."""
    order = mapped_integers(length)
    for start in range(0, length, PIECE):
        order[start : start + PIECE] = np.arange(start, min(start + PIECE, length))
    generator.shuffle(order)  # which is what `permutation` does with the numbers in order
    return order


class GrowingArray:
    """Writes a ``.npy`` file of one dimension whose length is not known in advance; a context manager.

    The file is the same as that of ``numpy.save``, whose header leaves room for a greater length.

    Attributes:
        length: numbers appended so far.
    """

    def __init__(self, path: Path, kind: type[np.integer[Any]]) -> None:
        self.length = 0
        self._kind = np.dtype(kind)
        self._file = path.open("wb")
        self._write_header()

    def _write_header(self) -> None:
        description = {"descr": self._kind.str, "fortran_order": False, "shape": (self.length,)}
        np.lib.format.write_array_header_1_0(self._file, description)

    def append(self, values: NDArray[Any]) -> None:
        """Append numbers of the array's kind."""
        assert values.dtype == self._kind
        self._file.write(np.ascontiguousarray(values).data)
        self.length += len(values)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._file:
            self._file.seek(0)
            self._write_header()
