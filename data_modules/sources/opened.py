"""Files as people have them (compressed, in any encoding) as plain UTF-8 files, with bounds on what is read."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from data_modules.errors import DataError

BLOCK = 1 << 20  # bytes or characters that are read at a time
LONGEST_LINE = 10_000_000
"""Bytes of the longest line that counts as a row."""
LARGEST_EXPANSION, UNSUSPICIOUS_SIZE = 200, 1 << 30
"""A file that grows more than 200-fold is refused once it is past a gibibyte: text shrinks by 20 at most."""


def _zip_member(path: Path) -> IO[bytes]:
    archive = zipfile.ZipFile(path)
    names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX")]
    if len(names) != 1:
        raise DataError(f"{path.name} holds {len(names)} files; a zip file of rows must hold one")
    return archive.open(names[0])


OPENERS: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
    b"PK\x03\x04": _zip_member,
}
"""How a compressed file opens, by its first bytes."""
UNREAD = {
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"\xff\x06\x00\x00sNaPpY": "snappy",
    b"LZIP\x01": "lzip",
    b"\x1f\x9d": "compress (.Z)",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"Rar!\x1a\x07": "RAR",
}
"""Compressions that are not read, by the first bytes of their files."""
TAR_MARK, TAR_PLACE = b"ustar", 257
UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


@contextmanager
def plain_file(path: Path, encoding: str | None) -> Iterator[Path]:
    """Give the path of a file's content, decompressed and in UTF-8; this is the file itself if nothing has to be done.

    Args:
        path: the file.
        encoding: the encoding of its text; None for a file that is not text (Parquet), which is only decompressed.

    Raises:
        DataError: it cannot be decompressed or decoded.
    """
    start = _start(path)
    opener = next((opener for mark, opener in OPENERS.items() if start.startswith(mark)), None)
    with tempfile.TemporaryDirectory() as folder:
        if opener is not None:
            _decompress(path, opener, Path(folder) / "plain")
            path = _renamed(Path(folder) / "plain", path.name)
            start = _start(path)
        if encoding is not None and not is_utf8(encoding):
            decoded = Path(folder) / "decoded"
            decoded.mkdir()
            _transcode(path, encoding, decoded / path.name)
            path = decoded / path.name
        elif encoding is not None and start.startswith(UTF_16_MARKS):
            raise DataError(f"{path.name} is not UTF-8 text; it looks like UTF-16: set data.encoding to utf-16")
        yield path


def _start(path: Path) -> bytes:
    """Return the first bytes of a file.

    Raises:
        DataError: they are those of a compression or an archive that is not read.
    """
    with path.open("rb") as file:
        start = file.read(TAR_PLACE + len(TAR_MARK))
    found = next((name for mark, name in UNREAD.items() if start.startswith(mark)), None)
    if path.suffix.lower() == ".br":
        found = "brotli"  # whose files have no mark
    if found is not None:
        raise DataError(f"{path.name} is compressed by {found}, which is not read here; decompress it first")
    if start[TAR_PLACE:] == TAR_MARK:
        raise DataError(f"{path.name} holds a tar archive; unpack it, and name its file or its folder")
    return start


def is_utf8(encoding: str) -> bool:
    """Say whether an encoding's name means UTF-8, with or without a byte order mark at the start."""
    return encoding.lower().replace("_", "-") in ("utf-8", "utf8", "utf-8-sig", "ascii", "us-ascii")


def _renamed(path: Path, name: str) -> Path:
    """Give a temporary file the name that messages are to show."""
    return path.rename(path.with_name(name))


def _decompress(path: Path, opener: Callable[[Path], Any], target: Path) -> None:
    limit = max(UNSUSPICIOUS_SIZE, LARGEST_EXPANSION * path.stat().st_size)
    written = 0
    try:
        with opener(path) as source, target.open("wb") as plain:
            while block := source.read(BLOCK):
                written += len(block)
                if written > limit:
                    raise DataError(
                        f"{path.name} grows more than {LARGEST_EXPANSION}-fold when it is decompressed; "
                        "if that is meant, decompress it first"
                    )
                plain.write(block)
    except (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, gzip.BadGzipFile, RuntimeError) as error:
        raise DataError(f"{path.name} cannot be decompressed: {error}") from None


def _transcode(path: Path, encoding: str, target: Path) -> None:
    try:
        with (
            path.open(encoding=encoding, newline="") as source,
            target.open("w", encoding="utf-8", newline="") as plain,
        ):
            while text := source.read(BLOCK):
                plain.write(text)
    except UnicodeError as error:  # UTF-16 without its mark is a plain UnicodeError
        raise DataError(f"{path.name} is not text in {encoding} (data.encoding): {error}") from None


def refuse_long_lines(path: Path) -> None:
    """Raise :class:`DataError` if a line is longer than ``LONGEST_LINE`` bytes; memory holds one block."""
    number, length = 1, 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            first, *rest = block.split(b"\n")
            length += len(first)
            for line in (*rest, None):
                if length > LONGEST_LINE:
                    raise DataError(
                        f"{path.name}, line {number}, is longer than {LONGEST_LINE:,} bytes; is it a file of rows?"
                    )
                if line is not None:
                    number, length = number + 1, len(line)


def located(path: Path, error: Any) -> str:
    """Say where a file stops being UTF-8 and what to do."""
    return (
        f"{path.name} is not UTF-8 text (byte {error.start}); name its encoding with data.encoding, "
        "for example latin-1, cp1252 or gb18030"
    )
