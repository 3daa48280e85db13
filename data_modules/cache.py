"""A cache whose entries are named by digests of everything that they were built from.

Nothing in it is ever changed in place: an entry is built in a temporary folder and then renamed, so a killed build
leaves nothing half-built behind. Two processes that want the same entry build it once. Every entry keeps the digests of
its files.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from data_modules.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

LOGGER = logging.getLogger(__name__)
DIGESTS = "digests.json"
"""The file of an entry that keeps the SHA-256 of the others."""
_checked: set[Path] = set()
"""Entries whose files this process has compared with their digests."""
DIGESTED = 10_000  # values of a column that are digested at a time, to bound memory
REPOSITORY = Path(__file__).resolve().parent.parent


def cache_root(configured: str | None = None) -> Path:
    """Return the cache folder: the configured one, else ``$RESNORM_CACHE``, else ``.cache`` in the repository."""
    return Path(configured or os.environ.get("RESNORM_CACHE") or REPOSITORY / ".cache").expanduser().resolve()


def digest(*parts: Any) -> str:
    """Return 16 hexadecimal digits that depend on the JSON form of ``parts`` alone, the same in every process."""
    return hashlib.sha256(_json(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def digest_of_columns(names: Sequence[str], tables: Mapping[str, Mapping[str, pd.Series]]) -> str:
    """Return ``digest(names, tables)`` with columns as lists, without holding their JSON form in memory.

    Args:
        names: what else the digest depends on.
        tables: columns by name, of each table.
    """
    found = hashlib.sha256()

    def add(text: str) -> None:
        found.update(text.encode("utf-8", "surrogatepass"))

    add(f"[{_json(names)}, {{")
    for number, (name, columns) in enumerate(sorted(tables.items())):
        add(f"{', ' if number else ''}{_json(name)}: {{")
        for place, (column, values) in enumerate(sorted(columns.items())):
            add(f"{', ' if place else ''}{_json(column)}: [")
            for start in range(0, len(values), DIGESTED):
                add((", " if start else "") + _json(values.iloc[start : start + DIGESTED].tolist())[1:-1])
            add("]")
        add("}")
    add("}]")
    return found.hexdigest()[:16]


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def file_digest(path: Path) -> str:
    """Return 16 hexadecimal digits of a file's content."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()[:16]


def code_digest(paths: Iterable[Path]) -> str:
    """Return a digest of source files: entries that other code built then have other names."""
    return digest([(path.name, file_digest(path)) for path in sorted(paths)])


def cached(root: Path, kind: str, key: str, build: Callable[[Path], None]) -> Path:
    """Return the folder ``<root>/<kind>/<key>``, built by ``build(folder)`` unless it is there already.

    The files of an entry are compared with their digests once per process; a damaged entry is built anew, and one line
    in the log names it. Folders and files have the permissions that the umask gives, so that users can share a cache.

    Raises:
        DataError: the cache cannot be written, or a part of it is a link.
    """
    entry = root / kind / key
    for place in (entry.parent, entry):  # the root may be a link: a person chose it
        if place.is_symlink():
            raise DataError(f"{place}, a part of the cache, is a link, which is not followed; remove it")
    if entry.is_dir() and (entry in _checked or damage(entry) is None):
        _checked.add(entry)
        return entry
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        lock = _lock_of(entry)
        lock.acquire()
    except OSError as error:
        raise DataError(
            f"the cache {root} cannot be written ({error.strerror or error}); "
            "choose another folder with data.cache_dir or the environment variable RESNORM_CACHE"
        ) from error
    try:
        if not entry.is_dir() or _remove_damaged(entry):
            _build(entry, build)
    finally:
        lock.release()
    _checked.add(entry)
    return entry


def _lock_of(entry: Path) -> FileLock:
    """Return the lock of an entry, whose file has the permissions that the umask gives."""
    path = entry.parent / f".{entry.name}.lock"
    flags = os.O_CREAT | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)  # behind a link lies somebody else's file
    os.close(os.open(path, flags, 0o666))
    return FileLock(path, mode=path.stat().st_mode & 0o777)


def _build(entry: Path, build: Callable[[Path], None]) -> None:
    for leftover in entry.parent.glob(f".{entry.name}.tmp*"):  # of a killed build: whoever holds the lock may sweep
        if leftover.is_symlink():
            leftover.unlink()  # the link alone
        else:
            shutil.rmtree(leftover, ignore_errors=True)
    temporary = entry.parent / f".{entry.name}.tmp{uuid.uuid4().hex[:8]}"
    temporary.mkdir()
    try:
        build(temporary)
        digests = {name: _sha256(path) for name, path in _files_of(temporary).items()}
        (temporary / DIGESTS).write_text(json.dumps(digests, ensure_ascii=False, indent=1), encoding="utf-8")
        temporary.rename(entry)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _remove_damaged(entry: Path) -> bool:
    """If an entry is damaged, move it away, delete it and log this."""
    reason = damage(entry)
    if reason is None:
        return False
    LOGGER.warning("the cache entry %s/%s is damaged (%s) and is built anew", entry.parent.name, entry.name, reason)
    away = entry.parent / f".{entry.name}.tmp{uuid.uuid4().hex[:8]}"
    entry.rename(away)
    shutil.rmtree(away, ignore_errors=True)
    return True


def damage(entry: Path) -> str | None:
    """Return what is wrong with an entry, such as the first file with another digest; None if all is well."""
    try:
        kept = json.loads((entry / DIGESTS).read_text(encoding="utf-8"))
        found = _files_of(entry)
    except (OSError, ValueError, RecursionError):
        return f"{DIGESTS} cannot be read"
    if any(path.is_symlink() for path in entry.rglob("*")):
        return "it holds a link"
    if not isinstance(kept, dict) or kept.keys() != found.keys():
        return f"it does not hold the files that {DIGESTS} names"
    return next((name for name, path in found.items() if _sha256(path) != kept[name]), None)


def _files_of(folder: Path) -> dict[str, Path]:
    """Return the files of an entry by their names in it, without the file of digests."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path for path in paths if path != folder / DIGESTS}


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
