"""Compressed files and other encodings hold the rows that the plain file holds."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from data_modules.config import DataConfig, file_format_of
from data_modules.errors import DataError
from data_modules.sources import opened
from data_modules.sources.files import read_table
from data_modules.sources.opened import plain_file

ROWS = [(f"naïve résumé {n}", "pos" if n % 2 else "neg") for n in range(50)]
TEXTS = {
    "csv": "\n".join(["text,label", *(f"{text},{label}" for text, label in ROWS)]),
    "tsv": "\n".join(["text\tlabel", *(f"{text}\t{label}" for text, label in ROWS)]),
    "jsonl": "\n".join(f'{{"text": "{text}", "label": "{label}"}}' for text, label in ROWS),
}


def zipped(content: bytes, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inner.bin", content)


WRITERS: dict[str, Callable[[bytes, Path], object]] = {
    "": lambda content, path: path.write_bytes(content),
    ".gz": lambda content, path: path.write_bytes(gzip.compress(content)),
    ".bz2": lambda content, path: path.write_bytes(bz2.compress(content)),
    ".xz": lambda content, path: path.write_bytes(lzma.compress(content)),
    ".zip": zipped,
}


@pytest.mark.parametrize("ending", WRITERS)
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize("file_format", TEXTS)
def test_rows_are_the_same_however_a_file_is_kept(file_format: str, encoding: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows.{file_format}{ending}"
    WRITERS[ending](TEXTS[file_format].encode(encoding), path)
    assert list(read_table(path, file_format, encoding).itertuples(index=False, name=None)) == ROWS


def test_a_name_tells_the_format_and_the_corpus_in_spite_of_compression() -> None:
    assert file_format_of("my.rows.CSV.gz") == "csv" and file_format_of("rows.jsonl") == "jsonl"
    assert DataConfig(corpus="csv", train_file="here/my rows.csv.gz").slug == "my_rows"


def test_what_is_not_in_the_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes("text,label\nna\xefve,a".encode("latin-1"))
    with pytest.raises(DataError, match=r"rows\.csv is not UTF-8 text.*data\.encoding, for example latin-1"):
        read_table(path, "csv")
    with pytest.raises(DataError, match=r"rows\.csv is not text in utf-16 \(data\.encoding\)"):
        read_table(path, "csv", "utf-16")
    path.write_text(TEXTS["csv"], encoding="utf-16")
    with pytest.raises(DataError, match=r"it looks like UTF-16: set data.encoding to utf-16"):
        read_table(path, "csv")


def test_an_unknown_encoding_names_the_nearest() -> None:
    with pytest.raises(DataError, match=r"data\.encoding is 'latin1x', which is not known; did you mean 'latin-1'"):
        DataConfig(encoding="latin1x")


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz", ".zip"])
def test_a_broken_archive_is_one_sentence(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows.csv{ending}"
    WRITERS[ending](TEXTS["csv"].encode(), path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"rows\.csv") as raised:
        read_table(path, "csv")
    assert "\n" not in str(raised.value)


def test_an_archive_that_grows_without_measure_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opened, "UNSUSPICIOUS_SIZE", 1 << 20)
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress(b"text,label\n" + bytes(100 << 20)))
    with pytest.raises(DataError, match=r"rows\.csv\.gz grows more than 200-fold"):
        read_table(path, "csv")


def test_an_archive_of_two_files_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "text,label")
        archive.writestr("b.csv", "text,label")
    with pytest.raises(DataError, match=r"rows\.zip holds 2 files; a zip file of rows must hold one"):
        read_table(path, "csv")


def test_a_plain_file_is_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,b")
    with plain_file(path, "utf-8") as plain:
        assert plain == path
