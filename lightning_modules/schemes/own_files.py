"""A scheme in a person's own file: it is executed once, when a command line names it, and known by its SHA-256.

Such a file is code. Nothing but a person's command line may name it: no grid, record, checkpoint or configuration does.
Those hold its digest (``model.scheme_sha256``), which later commands compare with the file that they are given.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from lightning_modules.errors import ConfigurationError
from lightning_modules.schemes.families import load_families
from lightning_modules.schemes.variants import SCHEME_SHA256, VARIANTS


@dataclass(frozen=True)
class SchemeFile:
    """The contents of a file of schemes, so that another process can execute the very same bytes."""

    path: str
    """Where it was read from, for messages and tracebacks."""

    source: bytes
    """Its contents."""

    @property
    def sha256(self) -> str:
        """Digest of the contents, 64 hexadecimal digits."""
        return hashlib.sha256(self.source).hexdigest()


LOADED: dict[str, SchemeFile] = {}
"""The files that this process has executed, by their digest."""


def read_scheme_file(path: Path) -> SchemeFile:
    """Read a file of schemes without executing it.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        return SchemeFile(str(path), path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"the scheme file {path} cannot be read: {error.strerror}") from error


def load_scheme_file(file: SchemeFile) -> None:
    """Execute a file of schemes, which registers its variants; one that was executed before is left alone.

    Raises:
        ConfigurationError: it fails, or registers no variant.
    """
    if file.sha256 in LOADED:
        return
    load_families()  # first, so that a name of ours cannot be taken
    before = set(VARIANTS)
    module = ModuleType(f"scheme_{file.sha256[:16]}")
    module.__file__ = file.path
    sys.modules[module.__name__] = module
    try:
        exec(compile(file.source, file.path, "exec"), vars(module))
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigurationError(f"the scheme file {file.path} does not load: {reason}") from error
    added = set(VARIANTS) - before
    if not added:
        raise ConfigurationError(f"the scheme file {file.path} registers no variant")
    LOADED[file.sha256] = file
    SCHEME_SHA256.update(dict.fromkeys(added, file.sha256))
