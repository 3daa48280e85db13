"""The embedded corpus ``docstrings``: English prose from the docstrings of five installed packages.

The class of a paragraph is the package that it comes from. Nothing is imported or downloaded: source files are parsed.
As every version in ``requirements.txt`` is exact, every machine builds the same corpus.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from data_modules.cache import cache_root, cached, code_digest, digest
from data_modules.config import DocstringsOptions
from data_modules.errors import DataError
from data_modules.sources import paragraphs as reader
from data_modules.sources.source import RawCorpus, Source

PACKAGES = ("torch", "transformers", "numpy", "pandas", "sympy")
SLOWEST_FIRST = ("transformers", "torch", "sympy", "pandas", "numpy")
ROWS_PER_CLASS = 4_500
PARAGRAPHS = "paragraphs.json"
PACKAGE, IDENTIFIER = "PACKAGE", "IDENTIFIER"

PACKAGE_NAME = re.compile(
    r"\w*(?:torch|transformers|hugging ?face|numpy|pandas|sympy)\w*|\b(?:np|pd|hf|aten)\b", re.IGNORECASE
)
CODE_WORD = re.compile(
    r"\b(?:\w+(?:\.\w+)+|\w+_\w*|_\w+|[a-z]+[A-Z]\w*|[A-Z]+[a-z0-9]+[A-Z]\w*)(?:\(\))?"
    r"|\b(?i:ndarrays?|dtypes?|ufuncs?|tensors?|dataframes?|series|sympify|exprs?)\b"
)


def mask(text: str, *, identifiers: bool) -> str:
    """Replace every word that contains a package's name by ``PACKAGE``; if asked, code words by ``IDENTIFIER``."""
    text = PACKAGE_NAME.sub(PACKAGE, text)
    return CODE_WORD.sub(IDENTIFIER, text) if identifiers else text


def site_packages(packages: tuple[str, ...] = PACKAGES, corpus: str = "docstrings") -> Path:
    """Return the folder that holds the packages of a corpus.

    Raises:
        DataError: one of them is not installed.
    """
    folders = set()
    for package in packages:
        found = find_spec(package)
        if found is None or found.origin is None:
            raise DataError(f"the corpus {corpus} needs the package {package}; pip install -r requirements.txt")
        folders.add(Path(found.origin).parent.parent)
    if len(folders) > 1:
        raise DataError(f"the corpus {corpus} needs its packages in one site-packages folder; use a fresh .venv")
    return folders.pop()


def read_package(folder: Path, package: str) -> list[tuple[str, str]]:
    """Return ``(file, paragraph)`` for the prose in a package's docstrings, read by a process of its own."""
    command = [sys.executable, "-I", reader.__file__, str(folder), package]
    finished = subprocess.run(command, capture_output=True, check=True)
    return [(file, text) for file, text in json.loads(finished.stdout)]


def read_packages(
    folder: Path, distributions: Mapping[str, str], cache_dir: str | None
) -> dict[str, list[tuple[str, str]]]:
    """Return ``(file, paragraph)`` for the prose in the docstrings of packages, by package.

    What a package holds is kept in the cache, since `docstrings` and `prose` share five of them and a large one takes
    half a minute. Those that take longest are begun first.

    Args:
        folder: where the packages are.
        distributions: distribution by package.
        cache_dir: the configured cache.
    """
    code = code_digest([Path(reader.__file__)])

    def read(package: str) -> list[tuple[str, str]]:
        def build(entry: Path) -> None:
            (entry / PARAGRAPHS).write_text(json.dumps(read_package(folder, package)))

        key = digest(code, package, version(distributions[package]))
        entry = cached(cache_root(cache_dir), "paragraphs", key, build)
        return [(file, text) for file, text in json.loads((entry / PARAGRAPHS).read_text())]

    order = sorted(distributions, key=lambda package: package not in SLOWEST_FIRST)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # each thread waits for its process
        return dict(zip(order, pool.map(read, order), strict=True))


def _rows(options: DocstringsOptions, cache_dir: str | None) -> pd.DataFrame:
    found = read_packages(site_packages(), {package: package for package in SLOWEST_FIRST}, cache_dir)
    rows = [
        (mask(text, identifiers=options.mask_identifiers), label, file)
        for label, package in enumerate(PACKAGES)
        for file, text in found[package]
    ]
    return pd.DataFrame(rows, columns=["text", "label", "group"])


def build(options: DocstringsOptions, cache_dir: str | None = None) -> RawCorpus:
    """Read, mask, remove duplicates across classes, and draw at most ``ROWS_PER_CLASS`` rows of each class.

    Masking comes first because it makes some texts equal. A masked text with two labels is dropped altogether.
    """
    rows = _rows(options, cache_dir)
    report = {"paragraphs": len(rows)}
    same = rows["text"].str.casefold()
    contradictory = rows.groupby(same)["label"].transform("nunique") > 1
    report["contradictory"] = int(contradictory.sum())
    rows, same = rows[~contradictory], same[~contradictory]
    repeated = same.duplicated()
    report["duplicates"] = int(repeated.sum())
    rows = rows[~repeated].reset_index(drop=True)
    kept: list[int] = []
    for label in range(len(PACKAGES)):
        candidates = rows.index[rows["label"] == label].tolist()
        random.Random(label).shuffle(candidates)
        kept.extend(candidates[:ROWS_PER_CLASS])
    report["over_class_limit"] = len(rows) - len(kept)
    rows = rows.loc[sorted(kept)].reset_index(drop=True)
    if options.split_by == "directory":
        rows["group"] = rows["group"].str.rpartition("/")[0]
    return RawCorpus(splits={"train": rows}, class_names=PACKAGES, report=report)


def source(options: DocstringsOptions, cache_dir: str | None = None) -> Source:
    """Return the corpus as a source; its key names the packages' versions and the options."""
    versions = {package: version(package) for package in PACKAGES}
    key = digest("docstrings", versions, options.split_by, options.mask_identifiers)
    return Source(slug="docstrings", description="embedded", key=key, load=lambda: build(options, cache_dir))
