"""A prepared and tokenised text as bytes, for machines that have neither its source nor a shared disk.

What arrives is a cache folder of its own that knows one text: ``corpora`` and ``encoded`` as in every cache, and
``text.json``. The latter replaces the source (a file, a folder, the Hub) and a pretrained tokenizer.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

from data_modules.cache import cache_root, cached
from data_modules.cleaning.prepared import prepare
from data_modules.config import DataConfig
from data_modules.errors import DataError
from data_modules.sources.carried import FACTS_FILE, PRETRAINED_FILE
from data_modules.sources.resolve import resolve
from data_modules.tokens.encoding import encode
from data_modules.tokens.tokenization import KEPT_IDS, is_learned

KIND = "carried"
"""Kind of the cache entries that hold a text from elsewhere."""


@dataclass(frozen=True)
class PortableText:
    """A text to carry elsewhere."""

    digest: str
    """SHA-256 of ``archive``, in hexadecimal digits."""

    fingerprint: str
    """Fingerprint of the corpus, as records carry it."""

    archive: bytes
    """A tar file of the folders and files that are named above."""


def pack_text(config: DataConfig, *, documents: bool = False) -> PortableText:
    """Return the text that a configuration describes; it is prepared and tokenised here if it was not before.

    With ``documents`` it is tokenised as language models read it: whole texts, each with its end.

    The archive is held in memory and is about as large as the text's entries in the cache. Equal entries give equal
    bytes.

    Raises:
        DataError: the corpus or its tokenizer cannot be had.
    """
    source, corpus = resolve(config), prepare(config)
    encoded = encode(corpus, config, documents=documents)
    tokenizer = encoded.tokenizer
    facts = {
        "slug": source.slug,
        "description": source.description,
        "key": source.key,
        "near_duplicates": source.near_duplicates,
    }
    facts |= {f"{name}_id": getattr(tokenizer, f"{name}_id") for name in KEPT_IDS}
    files = {FACTS_FILE: json.dumps(facts).encode()}
    if not is_learned(config):
        files[PRETRAINED_FILE] = tokenizer.backend.to_str().encode()
    root = cache_root(config.cache_dir)
    for entry in (corpus.folder, encoded.folder):
        parts = sorted(part for part in entry.rglob("*") if part.is_file())
        files |= {part.relative_to(root).as_posix(): part.read_bytes() for part in parts}
    archive = tar_of(files)
    return PortableText(hashlib.sha256(archive).hexdigest(), corpus.fingerprint, archive)


def tar_of(files: dict[str, bytes]) -> bytes:
    """Return a tar file of named contents, without dates or owners."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def unpack_text(digest: str, archive: bytes, root: Path) -> None:
    """Unpack a text into the cache ``root``, where :func:`carried_folder` finds it.

    Raises:
        DataError: the bytes are not those of the digest, or a member would lie outside the folder.
    """
    if hashlib.sha256(archive).hexdigest() != digest:
        raise DataError("the text did not arrive as it was sent: its digest is another one")

    def build(folder: Path) -> None:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            try:
                tar.extractall(folder, filter="data")
            except tarfile.FilterError as error:
                raise DataError(f"the text that was sent is refused: {error}") from None

    cached(root, KIND, digest, build)


def carried_folder(digest: str, root: Path) -> Path:
    """Return the cache folder of a text in the cache ``root``: a run's ``data.cache_dir``; absent until unpacked."""
    return root / KIND / digest
