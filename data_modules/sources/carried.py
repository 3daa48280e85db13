"""A text that was sent here prepared and tokenised: its cache folder holds a file that replaces the source.

:mod:`data_modules.portable` packs and unpacks such folders.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from data_modules.cache import cache_root
from data_modules.config import DataConfig
from data_modules.errors import DataError
from data_modules.sources.source import Source

FACTS_FILE, PRETRAINED_FILE = "text.json", "pretrained.json"


def carried_facts(config: DataConfig) -> dict[str, Any] | None:
    """Read what is known of the text if the configured cache was carried here; None for an ordinary cache."""
    path = cache_root(config.cache_dir) / FACTS_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def source(facts: dict[str, Any]) -> Source:
    """Return the source of a text that was carried here, which cannot be read again."""

    def load() -> NoReturn:
        raise DataError(f"the corpus {facts['slug']} was sent here prepared, and not with these settings")

    return Source(
        slug=facts["slug"],
        description=facts["description"],
        key=facts["key"],
        near_duplicates=facts["near_duplicates"],
        load=load,
    )
