"""What comes back from another machine: known files of the run that was asked for, or nothing."""

import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_runs import make, tiny_run

from experiments.cluster.run_archive import ArchiveError, pack_run, unpack_run
from experiments.planning.runs import Run
from experiments.runs.run_folder import read_record


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """Return a run and the folder where another machine made it."""
    run = tiny_run(tmp_path_factory.mktemp("cache"))
    return run, make(run, tmp_path_factory.mktemp("there"))


def fingerprint(folder: Path) -> str:
    return str(read_record(folder).data["fingerprint"])


def prepared(run: Run, results: Path) -> Path:
    """Return the run's folder here, with what an interrupted attempt left."""
    folder = run.folder(results)
    folder.mkdir(parents=True)
    (folder / "last.ckpt").write_text("of an earlier attempt")
    return folder


def with_member(archive: bytes, name: str) -> bytes:
    buffer = io.BytesIO(archive)
    with zipfile.ZipFile(buffer, "a") as opened:
        opened.writestr(name, "evil")
    return buffer.getvalue()


def encrypted(archive: bytes) -> bytes:
    """Return an archive whose directory says of every file that it is encrypted."""
    entry = b"PK\x01\x02"  # then two versions of two bytes each, then the flags
    start, *entries = archive.split(entry)
    return entry.join([start, *(item[:4] + bytes([item[4] | 1]) + item[5:] for item in entries)])


def test_a_run_comes_back_whole(made: tuple[Run, Path], tmp_path: Path) -> None:
    run, there = made
    folder = prepared(run, tmp_path)
    (there / "notes.txt").write_text("of no run")
    unpack_run(pack_run(there), run, tmp_path, fingerprint(there))
    files = {path.name: path.read_bytes() for path in there.iterdir() if path.name not in (".lock", "notes.txt")}
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files


@pytest.mark.parametrize(
    "name", ["../evil.txt", "/evil.txt", "sub/metrics.csv", "..", "config.yaml", "evil.py", "run.json/../x", "a\\b"]
)
def test_files_of_other_names_or_places_are_refused(name: str, made: tuple[Run, Path], tmp_path: Path) -> None:
    run, there = made
    folder = prepared(run, tmp_path)
    with pytest.raises(ArchiveError, match="no file of a run"):
        unpack_run(with_member(pack_run(there), name), run, tmp_path, fingerprint(there))
    assert [path.name for path in folder.iterdir()] == ["last.ckpt"]
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda archive: archive[: len(archive) // 2], "damaged"),
        (lambda archive: b"", "damaged"),
        (lambda archive: archive[:60] + b"\xff" * 60 + archive[120:], "damaged"),
        (
            lambda archive: archive.replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01"),
            "encrypted",
        ),
        (lambda archive: with_member(b"", "metrics.csv"), "record"),
    ],
    ids=["cut", "empty", "scrambled", "encrypted", "without a record"],
)
def test_what_is_damaged_is_refused(
    spoil: Callable[[bytes], bytes], reason: str, made: tuple[Run, Path], tmp_path: Path
) -> None:
    run, there = made
    prepared(run, tmp_path)
    with pytest.raises(ArchiveError, match=reason):
        unpack_run(spoil(pack_run(there)), run, tmp_path, fingerprint(there))
    assert not (run.folder(tmp_path) / "run.json").exists()


def test_another_run_or_the_same_on_another_text_is_refused(made: tuple[Run, Path], tmp_path: Path) -> None:
    run, there = made
    other = replace(run, seed=1, config=run.config.with_seed(1))
    for wanted, text, reason in ((other, fingerprint(there), "seed 0"), (run, "beef", "another text")):
        prepared(wanted, tmp_path)
        with pytest.raises(ArchiveError, match=reason):
            unpack_run(pack_run(there), wanted, tmp_path, text)
        assert not (wanted.folder(tmp_path) / "run.json").exists()
