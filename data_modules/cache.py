"""A cache of built things whose names are digests of everything they were built from.

Nothing in it is ever changed in place: an entry is built in a temporary folder and renamed, so a killed build leaves
no half entry, and two processes that want the same entry build it once.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from data_modules.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

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
        names: what the digest depends on besides.
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
    """Return a digest of source files, so that entries built by other code are not taken for current ones."""
    return digest([(path.name, file_digest(path)) for path in sorted(paths)])


def cached(root: Path, kind: str, key: str, build: Callable[[Path], None]) -> Path:
    """Return the folder ``<root>/<kind>/<key>``, built by ``build(folder)`` unless it is there already.

    Raises:
        DataError: the cache cannot be written.
    """
    entry = root / kind / key
    if entry.is_dir():
        return entry
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(entry.parent / f".{key}.lock")
        lock.acquire()
    except OSError as error:
        raise DataError(
            f"the cache {root} cannot be written ({error.strerror or error}); "
            "choose another folder with data.cache_dir or the environment variable RESNORM_CACHE"
        ) from error
    try:
        if entry.is_dir():
            return entry
        for leftover in entry.parent.glob(f".{key}.tmp*"):  # of a killed build: whoever holds the lock may sweep
            shutil.rmtree(leftover, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{key}.tmp", dir=entry.parent))
        try:
            build(temporary)
            temporary.rename(entry)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    finally:
        lock.release()
    return entry
