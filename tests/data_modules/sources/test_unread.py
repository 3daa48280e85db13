"""Compressed files that are not read here are refused by the name of their compression, in files and in folders."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from data_modules.cleaning.prepared import prepare
from data_modules.config import DataConfig, file_format_of
from data_modules.errors import DataError
from data_modules.sources.files import read_table
from data_modules.sources.opened import UNREAD

CONTENT = b"text,label\na text,a\n"


def tar_of(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo("rows.csv")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize(("mark", "name"), UNREAD.items(), ids=lambda part: part if isinstance(part, str) else "")
def test_a_compression_that_is_not_read_is_named(mark: bytes, name: str, tmp_path: Path) -> None:
    for content in (mark + CONTENT, gzip.compress(mark + CONTENT)):
        (tmp_path / "rows.csv").write_bytes(content)
        with pytest.raises(DataError, match=r"rows\.csv is compressed by") as refused:
            read_table(tmp_path / "rows.csv", "csv")
        assert name in str(refused.value)


@pytest.mark.parametrize("content", [tar_of(CONTENT), gzip.compress(tar_of(CONTENT))], ids=["tar", "tar.gz"])
def test_an_archive_is_no_file_of_rows(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(content)
    with pytest.raises(DataError, match="holds a tar archive"):
        read_table(tmp_path / "rows.csv", "csv")


@pytest.mark.parametrize("ending", ["zst", "lz4", "br", "7z", "Z"])
def test_the_ending_of_a_compression_hides_no_format(ending: str, tmp_path: Path) -> None:
    assert file_format_of(f"rows.jsonl.{ending}") == "jsonl"
    path = tmp_path / f"rows.csv.{ending}"
    mark = {"zst": b"\x28\xb5\x2f\xfd", "lz4": b"\x04\x22\x4d\x18", "7z": b"7z\xbc\xaf\x27\x1c", "Z": b"\x1f\x9d"}
    path.write_bytes(mark.get(ending, b"") + CONTENT)
    config = DataConfig(corpus="csv", train_file=str(path), cache_dir=str(tmp_path / "cache"))
    assert config.slug == "rows"
    with pytest.raises(DataError, match="decompress it first"):
        prepare(config)


def test_a_text_that_begins_with_the_name_of_a_compression_is_a_text(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("LZIP,label\nRar! is a cry,a\n")
    assert read_table(tmp_path / "rows.csv", "csv")["LZIP"].tolist() == ["Rar! is a cry"]
