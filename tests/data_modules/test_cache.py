from __future__ import annotations

import hashlib
import threading
import time
from pathlib import Path

import pytest

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
