"""From ``data.corpus`` to a clean, split corpus in the cache: find the source, read it, refine it, keep it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_modules.cache import cache_root, cached, code_digest, digest
from data_modules.config import SPLIT_SETTINGS, DataConfig
from data_modules.sources.carried import carried_facts
from data_modules.sources.resolve import resolve
from data_modules.sources.source import Source

if TYPE_CHECKING:
    import pandas as pd
    from datasets import DatasetDict

PACKAGE = Path(__file__).resolve().parent.parent
FIELDS_THAT_DECIDE = (*SPLIT_SETTINGS, "max_train_rows", "shuffle_words")


@dataclass(frozen=True, kw_only=True)
class PreparedCorpus:
    """A corpus that is ready to be tokenised."""

    slug: str
    """Short name, which names result folders."""

    source: str
    """Where it came from, free of paths."""

    fingerprint: str
    """Digest of the rows as the source gave them (texts, labels, groups, class names)."""

    split_hash: str
    """Digest of the clean rows of the three splits, before ``max_train_rows`` and ``shuffle_words``: equal for all
    conditions that share their validation and test rows."""

    report: dict[str, Any]
    """Counts of what was removed and why; ``experiments.corpus describe`` prints it."""

    class_names: tuple[str, ...]
    """Name of every class, by its index; empty if rows have no labels."""

    key: str
    """Digest of everything that decides the rows; names what is derived from them in the cache."""

    splits: DatasetDict
    """``train``, ``validation``, ``test``: a column ``text``, ``label`` if rows have a class, and ``group`` if rows
    hang together."""

    folder: Path
    """Its entry in the cache."""


def prepare(config: DataConfig) -> PreparedCorpus:
    """Return the corpus, clean and split, from the cache if it was prepared before.

    Raises:
        DataError: the source or its columns are missing or unfit, or there are too few rows.
    """
    source = resolve(config)
    modules = [
        *PACKAGE.glob("sources/*.py"),
        *PACKAGE.glob("cleaning/*.py"),
    ]
    settings = {name: getattr(config, name) for name in FIELDS_THAT_DECIDE}
    withheld, others = _withheld_for(config), [prepare(as_classified(config, name)) for name in config.more_text]
    if withheld is not None:
        settings["withheld"] = withheld.key
    if others:
        settings["more_text"] = [other.key for other in others]
    key = digest(code_digest(modules), source.key, settings)
    entry = cached(
        cache_root(config.cache_dir), "corpora", key, lambda folder: _build(source, config, folder, withheld, others)
    )
    from datasets import load_from_disk

    facts = json.loads((entry / "facts.json").read_text(encoding="utf-8"))
    facts["class_names"] = tuple(facts["class_names"])
    rows = load_from_disk(str(entry / "rows"))
    if "train" not in rows:
        rows["train"] = rows["test"].select([])
    return PreparedCorpus(slug=source.slug, source=source.description, key=key, splits=rows, folder=entry, **facts)


def as_classified(config: DataConfig, corpus: str) -> DataConfig:
    """Return the configuration by which a classifier reads another corpus: the default, with this seed of the split."""
    return DataConfig(corpus=corpus, cache_dir=config.cache_dir, split_seed=config.split_seed)


def _withheld_for(config: DataConfig) -> PreparedCorpus | None:
    """Return ``docstrings`` if ``prose`` must hold nothing of its evaluation rows, else None."""
    if config.corpus != "prose" or not config.prose.withhold_docstrings or carried_facts(config) is not None:
        return None
    return prepare(as_classified(config, "docstrings"))


def _build(
    source: Source,
    config: DataConfig,
    folder: Path,
    withheld: PreparedCorpus | None,
    others: Sequence[PreparedCorpus] = (),
) -> None:
    """Write ``rows/`` and ``facts.json`` of a prepared corpus."""
    from datasets.utils.logging import disable_progress_bar

    from data_modules.cleaning.refine import refine, with_more_text, withhold
    from data_modules.sources.docstrings import mask

    raw = source.load()
    if withheld is not None:
        raw = withhold(raw, withheld.splits, lambda text: mask(text, identifiers=False))
    refined = refine(raw, config, near_duplicates=source.near_duplicates)
    if others:
        refined = with_more_text(refined, {other.slug: other.splits["train"]["text"][:] for other in others}, config)
    disable_progress_bar()
    splits = {name: frame for name, frame in refined.splits.items() if len(frame)}  # `datasets` reads no empty one
    dataset_of(splits, refined.class_names).save_to_disk(str(folder / "rows"))
    facts = {
        "fingerprint": refined.fingerprint,
        "split_hash": refined.split_hash,
        "report": refined.report,
        "class_names": refined.class_names,
    }
    (folder / "facts.json").write_text(json.dumps(facts, ensure_ascii=False, indent=1), encoding="utf-8")


def dataset_of(splits: dict[str, pd.DataFrame], class_names: tuple[str, ...]) -> DatasetDict:
    """Return clean splits as a data set; text that is mapped from a file stays in the file."""
    import pyarrow as pa
    from datasets import ClassLabel, Dataset, DatasetDict, DatasetInfo, Features, Value

    from data_modules.sources.mapped_tables import pieces

    rows = DatasetDict()
    for name, frame in splits.items():
        kinds = {column: Value("string") for column in frame.columns}
        if class_names:
            kinds["label"] = ClassLabel(names=list(class_names))
        features = Features(kinds)
        schema = features.arrow_schema
        tables = [pa.Table.from_pandas(piece, schema=schema, preserve_index=False) for piece in pieces(frame)]
        rows[name] = Dataset(pa.concat_tables(tables).cast(schema), info=DatasetInfo(features=features))
    return rows
