"""What every source of text hands over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from data_modules.config import DataConfig

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "validation", "test")


@dataclass(kw_only=True)
class RawCorpus:
    """Rows as their source gives them, before cleaning."""

    splits: dict[str, pd.DataFrame]
    """``train`` and, if the source has them, ``validation`` and ``test``: a column ``text`` (str), ``label`` (the class
    index) if rows have a class, and ``group`` (str) if rows hang together."""

    class_names: tuple[str, ...] = ()
    """Name of every class, by its index; empty if rows have no labels."""

    contiguous: bool = False
    """Whether the rows are one running text, of which missing splits are cut from the end."""

    report: dict[str, Any] = field(default_factory=dict)
    """What the source did to make them."""


@dataclass(kw_only=True)
class Source:
    """A source that has been found but not read yet."""

    slug: str
    """Short name of the corpus, which names result folders."""

    description: str
    """Where it comes from, free of paths: ``embedded``, ``hub:owner/name``, ``folder:name``, ``file:name.csv``."""

    key: str
    """Digest of the source's content or of all that determines it; it is cheap and known before anything is read."""

    load: Callable[[], RawCorpus]
    """Reads the rows."""

    near_duplicates: bool = True
    """Whether two texts that share most of their words are nearly the same; in a formal language they are not."""


def columns_of(config: DataConfig) -> dict[str, str]:
    """Return the configured columns by kind."""
    named = {"text": config.text_column, "label": config.label_column, "group": config.group_column}
    return {kind: column for kind, column in named.items() if column is not None}
