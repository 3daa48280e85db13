"""Data sets of the Hugging Face Hub, by a known short name or an ``owner/name`` id. No code of others is ever run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from data_modules.cache import digest
from data_modules.config import FILE_FORMATS, DataConfig, file_format_of
from data_modules.errors import DataError, nearest
from data_modules.sources.online import is_cached, is_reachable, offline, reason_of
from data_modules.sources.source import Source, columns_of

if TYPE_CHECKING:
    from datasets import DatasetDict

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
HUB_FILE = re.compile(rf"hf://datasets/(?P<id>{HUB_ID.pattern})@(?P<revision>[^/]+)/(?P<path>.+\.parquet)")


@dataclass(frozen=True)
class KnownDataset:
    """A Hub data set with a short name."""

    id: str
    text_column: str = "text"
    label_column: str = "label"
    configuration: str | None = None
    revision: str | None = None


KNOWN = {
    "ag_news": KnownDataset("fancyzhx/ag_news"),
    "dbpedia_14": KnownDataset("fancyzhx/dbpedia_14", text_column="content"),
    "emotion": KnownDataset("dair-ai/emotion", configuration="split"),
    "imdb": KnownDataset("stanfordnlp/imdb"),
    "newsgroups": KnownDataset("SetFit/20_newsgroups"),
    "rotten_tomatoes": KnownDataset("cornell-movie-review-data/rotten_tomatoes"),
    "sst2": KnownDataset("SetFit/sst2"),
    "sst2_glue": KnownDataset("stanfordnlp/sst2", text_column="sentence"),
    "sst5": KnownDataset("SetFit/sst5"),
    # Its main branch holds a loading script; the Hub's own conversion to Parquet is next to it.
    "trec": KnownDataset("CogComp/trec", label_column="coarse_label", revision="refs/convert/parquet"),
    "tweeteval_emotion": KnownDataset("cardiffnlp/tweet_eval", configuration="emotion"),
    "tweeteval_sentiment": KnownDataset("cardiffnlp/tweet_eval", configuration="sentiment"),
    "yelp_review_full": KnownDataset("Yelp/yelp_review_full"),
}


def _fetch(known: KnownDataset, label: str | None) -> DatasetDict:
    """Load a data set from the Hub, or its cached copy if the Hub is out of reach.

    Raises:
        DataError: it cannot be loaded, its files number the classes differently, or there is neither network nor a
            copy; the last is found out before ``datasets`` and pandas are imported, which takes seconds.
    """
    reachable = is_reachable()
    if not reachable and not is_cached(known.id):
        raise _out_of_reach(known)
    from datasets import load_dataset, load_dataset_builder
    from datasets.exceptions import DatasetNotFoundError
    from datasets.utils.logging import disable_progress_bar

    if reachable:
        try:
            builder = load_dataset_builder(known.id, known.configuration, revision=known.revision)
            loaded = load_dataset(known.id, known.configuration, revision=known.revision)
        except (DatasetNotFoundError, ValueError, OSError, RuntimeError) as error:
            raise DataError(f"the Hub data set {known.id!r} cannot be loaded: {reason_of(error)}") from error
        from data_modules.sources.folder import refuse_other_orders

        urls = [url for of_split in (builder.config.data_files or {}).values() for url in of_split]
        refuse_other_orders(f"the Hub data set {known.id!r}", downloaded_parquet(urls), label)
        return loaded
    disable_progress_bar()
    try:
        with offline():
            return load_dataset(known.id, known.configuration, revision=known.revision)
    except (OSError, ValueError) as error:  # ConnectionError is an OSError
        raise _out_of_reach(known) from error


def downloaded_parquet(urls: Iterable[str]) -> list[Path]:
    """Return this machine's copies of the Parquet files of a Hub data set."""
    from huggingface_hub import try_to_load_from_cache

    found = [HUB_FILE.fullmatch(url) for url in urls]
    parts = [match.group("id", "revision", "path") for match in found if match is not None]
    kept = [try_to_load_from_cache(name, path, revision=at, repo_type="dataset") for name, at, path in parts]
    return [Path(path) for path in kept if isinstance(path, str)]


def _out_of_reach(known: KnownDataset) -> DataError:
    return DataError(
        f"the Hub data set {known.id!r} is not on this machine and the Hub cannot be reached; where there is "
        f"network, run `hf download {known.id} --repo-type dataset --local-dir {known.id.split('/')[-1]}`, copy "
        "the folder here and pass it as data.corpus"
    )


def _identify(config: DataConfig, embedded: Sequence[str]) -> tuple[str, KnownDataset]:
    """Return slug and data set of ``data.corpus``.

    Raises:
        DataError: it is neither a known name nor an ``owner/name`` id.
    """
    name = config.corpus
    if Path(name).expanduser().is_file():
        ending = {"json": "jsonl", "ndjson": "jsonl", "tab": "tsv"}.get(file_format_of(name), file_format_of(name))
        kind = ending if ending in FILE_FORMATS else "csv"
        raise DataError(f"data.corpus is a file; pass --data.corpus {kind} --data.train_file {name}")
    if name in KNOWN:
        return config.slug, KNOWN[name]
    if HUB_ID.fullmatch(name):
        known = next((item for item in KNOWN.values() if item.id == name), KnownDataset(name))
        return config.slug, known
    hint = nearest(name, [*embedded, *FILE_FORMATS, *KNOWN])
    raise DataError(
        f"data.corpus is {name!r}, which is no known corpus, no folder that exists and no Hub id (owner/name){hint}"
    )


def source(config: DataConfig, embedded: Sequence[str]) -> Source:
    """Return a Hub data set as a source.

    It is read at once, because only its content shows whether it is still the same.

    Raises:
        DataError: it is not known, cannot be reached, or lacks a column.
    """
    slug, known = _identify(config, embedded)
    known = replace(
        known,
        revision=config.revision or known.revision,
        configuration=config.configuration or known.configuration,
    )
    columns = columns_of(config)
    defaults = {"text": ("text", known.text_column), "label": ("label", known.label_column)}
    for kind, (untouched, own) in defaults.items():
        if columns.get(kind) == untouched:
            columns[kind] = own
    fetched = _fetch(known, columns.get("label"))
    from data_modules.sources.folder import corpus_of

    raw = corpus_of(fetched, columns, known.id)
    content = {name: {column: frame[column].tolist() for column in frame} for name, frame in raw.splits.items()}
    return Source(
        slug=slug,
        description=f"hub:{known.id}" + (f":{known.configuration}" if known.configuration else ""),
        key=digest("hub", raw.class_names, content),
        load=lambda: raw,
    )
