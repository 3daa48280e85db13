"""The embedded corpus ``prose``: paragraphs of the docstrings of a fixed list of installed packages, without labels.

The list is fixed by name, so a package that joins ``requirements.txt`` changes no fingerprint. As every version there
is exact, every machine builds the same text.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

import pandas as pd

from data_modules.cache import digest
from data_modules.config import ProseOptions
from data_modules.sources import docstrings
from data_modules.sources.source import RawCorpus, Source

DISTRIBUTIONS = {name: name for name in docstrings.PACKAGES} | {
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "statsmodels": "statsmodels",
    "matplotlib": "matplotlib",
    "lightning": "lightning",
    "datasets": "datasets",
    "torchmetrics": "torchmetrics",
    "tensorboard": "tensorboard",
    "jsonargparse": "jsonargparse",
    "pyarrow": "pyarrow",
    "PIL": "pillow",
    "rich": "rich",
}
"""Distribution that each package belongs to; the packages are read in this order."""


def rows_of(options: ProseOptions, cache_dir: str | None) -> Iterator[tuple[str, str]]:
    """Yield paragraph and file, in the order of packages and files.

    Raises:
        DataError: a package is not installed, or not where the others are.
    """
    folder = docstrings.site_packages(tuple(DISTRIBUTIONS), "prose")
    found = docstrings.read_packages(folder, DISTRIBUTIONS, cache_dir)
    for package in DISTRIBUTIONS:
        for file, text in found[package]:
            if options.mask_names or options.mask_identifiers:
                text = docstrings.mask(text, identifiers=options.mask_identifiers)
            yield text, file


def build(options: ProseOptions, cache_dir: str | None = None) -> RawCorpus:
    """Read the paragraphs; the first of equal ones stays, and a file is a group that no two splits share."""
    rows = pd.DataFrame(rows_of(options, cache_dir), columns=["text", "group"])
    repeated = rows["text"].str.casefold().duplicated()
    report = {"paragraphs": len(rows), "duplicates": int(repeated.sum())}
    return RawCorpus(splits={"train": rows[~repeated].reset_index(drop=True)}, report=report)


def source(options: ProseOptions, cache_dir: str | None = None) -> Source:
    """Return the corpus as a source; its key names the packages' versions and the options."""
    versions = {name: version(distribution) for name, distribution in DISTRIBUTIONS.items()}
    key = digest("prose", versions, options.mask_names, options.mask_identifiers)
    return Source(slug="prose", description="embedded", key=key, load=lambda: build(options, cache_dir))
