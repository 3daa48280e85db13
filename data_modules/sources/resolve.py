"""Which source ``data.corpus`` means."""

from __future__ import annotations

from pathlib import Path

from data_modules.config import EMBEDDED_CORPORA, FILE_FORMATS, PLAIN_TEXT, DataConfig
from data_modules.sources import carried
from data_modules.sources.source import Source


def resolve(config: DataConfig) -> Source:
    """Find the source that ``data.corpus`` means; nothing is read yet.

    Raises:
        DataError: there is none; the message names the nearest.
    """
    facts = carried.carried_facts(config)
    if facts is not None:
        return carried.source(facts)
    if config.corpus == "docstrings":
        from data_modules.sources.docstrings import source

        return source(config.docstrings, config.cache_dir)
    if config.corpus == "listops":
        from data_modules.sources.listops import source as listops

        return listops(config.listops)
    if config.corpus == "prose":
        from data_modules.sources.prose import source as prose

        return prose(config.prose, config.cache_dir)
    if config.corpus == PLAIN_TEXT:
        from data_modules.sources.plain_text import source as plain_text

        return plain_text(config)
    if config.corpus in FILE_FORMATS:
        from data_modules.sources.files import source as files

        return files(config)
    if Path(config.corpus).expanduser().is_dir():
        from data_modules.sources.folder import source as folder

        return folder(config)
    from data_modules.sources.hub import source as hub

    return hub(config, embedded=EMBEDDED_CORPORA)
