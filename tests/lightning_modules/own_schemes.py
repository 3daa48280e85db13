"""The scheme file that the documentation shows, and a registry that forgets it after the test."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning_modules.schemes.own_files import LOADED
from lightning_modules.schemes.variants import SCHEME_SHA256, VARIANTS

PAGE = Path(__file__).parents[2] / "docs" / "add_a_scheme.md"


def documented_scheme() -> str:
    """The Python block of the page that says how to add a scheme."""
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    return block


@contextmanager
def registry_restored() -> Iterator[None]:
    """Forget every scheme file that is loaded meanwhile."""
    registries = (VARIANTS, SCHEME_SHA256, LOADED)
    before = [dict(registry) for registry in registries]
    try:
        yield
    finally:
        for registry, content in zip(registries, before, strict=True):
            registry.clear()
            registry.update(content)
