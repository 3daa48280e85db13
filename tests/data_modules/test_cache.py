from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from data_modules import cache
from data_modules.cache import cache_root, cached, digest
from data_modules.errors import DataError


def test_two_builders_at_once_build_one_entry(tmp_path: Path) -> None:
    builds = []

    def build(folder: Path) -> None:
        builds.append(folder)
        time.sleep(0.1)
        (folder / "value").write_text("built")

    threads = [threading.Thread(target=cached, args=(tmp_path, "kind", "key", build)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builds) == 1
    assert (tmp_path / "kind" / "key" / "value").read_text() == "built"


def test_a_failed_build_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        cached(tmp_path, "kind", "key", fail)
    assert not list((tmp_path / "kind").glob("*key")) and not list((tmp_path / "kind").glob("*tmp*"))


def test_the_cache_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNORM_CACHE", str(tmp_path))
    assert cache_root() == tmp_path
    assert cache_root(str(tmp_path / "other")) == tmp_path / "other"


def test_a_cache_that_cannot_be_written_is_a_readable_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="RESNORM_CACHE"):
        cached(tmp_path / "file", "kind", "key", lambda folder: None)


def test_a_digest_is_a_hash_of_the_json_form_whatever_the_order_of_keys() -> None:
    expected = hashlib.sha256(b'["text", {"a": 2, "b": 1}]').hexdigest()[:16]
    assert digest("text", {"b": 1, "a": 2}) == digest("text", {"a": 2, "b": 1}) == expected


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    """An entry of two files, as another process left it."""
    found = cached(tmp_path, "kind", "key", build_two_files)
    cache._checked.clear()
    return found


def build_two_files(folder: Path) -> None:
    (folder / "inner").mkdir()
    (folder / "inner" / "rows").write_bytes(b"rows" * 100)
    (folder / "facts").write_text("facts")


def flip_a_bit(entry: Path) -> None:
    content = bytearray((entry / "inner" / "rows").read_bytes())
    content[17] ^= 1
    (entry / "inner" / "rows").write_bytes(content)


def truncate(entry: Path) -> None:
    (entry / "inner" / "rows").write_bytes(b"rows")


def lose_a_file(entry: Path) -> None:
    (entry / "facts").unlink()


def add_a_file(entry: Path) -> None:
    (entry / "more").write_text("more")


def lose_the_digests(entry: Path) -> None:
    (entry / "digests.json").unlink()


def break_the_digests(entry: Path) -> None:
    (entry / "digests.json").write_text("[1")


@pytest.mark.parametrize("damage", [flip_a_bit, truncate, lose_a_file, add_a_file, lose_the_digests, break_the_digests])
def test_a_damaged_entry_is_built_anew_and_named_in_one_line(
    damage: Callable[[Path], None], entry: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damage(entry)
    assert cached(tmp_path, "kind", "key", build_two_files) == entry
    assert (entry / "inner" / "rows").read_bytes() == b"rows" * 100 and (entry / "facts").read_text() == "facts"
    (record,) = caplog.records
    assert record.getMessage().startswith("the cache entry kind/key is damaged")
    assert sorted(path.name for path in entry.iterdir()) == ["digests.json", "facts", "inner"]


def test_a_sound_entry_is_neither_built_again_nor_read_twice(
    entry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    monkeypatch.setattr(cache, "_sha256", lambda path, inner=cache._sha256: read.append(path.name) or inner(path))
    for _ in range(3):
        cached(tmp_path, "kind", "key", lambda folder: pytest.fail("built again"))
    assert sorted(read) == ["facts", "rows"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has neither umask nor permission bits")
@pytest.mark.parametrize(("umask", "folder", "file"), [(0o022, 0o755, 0o644), (0o027, 0o750, 0o640)])
def test_entries_have_the_permissions_that_the_umask_gives(umask: int, folder: int, file: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        entry = cached(tmp_path / "cache", "kind", "key", build_two_files)
    finally:
        os.umask(before)
    paths = [tmp_path / "cache", entry.parent, *entry.parent.rglob("*")]
    assert len(paths) == 8
    for path in paths:
        assert stat.S_IMODE(path.stat().st_mode) == (folder if path.is_dir() else file), path


@pytest.mark.skipif(
    os.name == "nt" or os.getuid() == 0, reason="root may write everywhere, and Windows has no such permission"
)
def test_an_entry_is_used_where_the_cache_cannot_be_written(entry: Path, tmp_path: Path) -> None:
    (tmp_path / "kind").chmod(0o555)
    try:
        assert cached(tmp_path, "kind", "key", lambda folder: pytest.fail("built again")) == entry
    finally:
        (tmp_path / "kind").chmod(0o755)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder of somebody else's, which a link in the cache leads to."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "thesis").write_text("forty pages")
    return folder


def untouched(folder: Path) -> bool:
    return {path.name: path.read_text() for path in folder.iterdir()} == {"thesis": "forty pages"}


@pytest.mark.parametrize("place", ["kind", "kind/key"])
def test_a_link_in_place_of_a_part_of_the_cache_is_refused(place: str, elsewhere: Path, tmp_path: Path) -> None:
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).symlink_to(elsewhere)
    with pytest.raises(DataError, match="is a link"):
        cached(tmp_path, "kind", "key", build_two_files)
    assert untouched(elsewhere)


def test_the_root_of_the_cache_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "cache").symlink_to(tmp_path / "disk")
    entry = cached(cache_root(str(tmp_path / "cache")), "kind", "key", build_two_files)
    assert (tmp_path / "disk" / "kind" / "key" / "facts").is_file() and entry.is_dir()


def test_a_link_in_place_of_a_lock_makes_no_file_elsewhere(elsewhere: Path, tmp_path: Path) -> None:
    (tmp_path / "kind").mkdir()
    (tmp_path / "kind" / ".key.lock").symlink_to(elsewhere / "new")
    with pytest.raises(DataError, match="cannot be written"):
        cached(tmp_path, "kind", "key", build_two_files)
    assert untouched(elsewhere)


def test_a_link_among_left_overs_is_removed_alone(elsewhere: Path, tmp_path: Path) -> None:
    (tmp_path / "kind").mkdir()
    (tmp_path / "kind" / ".key.tmp123").symlink_to(elsewhere)
    cached(tmp_path, "kind", "key", build_two_files)
    assert untouched(elsewhere) and not (tmp_path / "kind" / ".key.tmp123").is_symlink()


@pytest.mark.parametrize("name", ["facts", "inner"])
def test_an_entry_with_a_link_in_it_is_built_anew(name: str, entry: Path, elsewhere: Path, tmp_path: Path) -> None:
    moved = (entry / name).rename(tmp_path / f"moved {name}")
    (entry / name).symlink_to(moved)
    assert cached(tmp_path, "kind", "key", build_two_files) == entry
    assert not (entry / name).is_symlink() and moved.exists()
