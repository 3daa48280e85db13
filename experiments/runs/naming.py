"""Names of cells and runs that are safe as folder names, and the order of conditions in tables."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from experiments.runs.record import Record
from experiments.tasks import TRIGRAM, UNIGRAM
from lightning_modules.schemes.variants import VARIANTS

TFIDF = "tfidf_logistic_regression"
WITHOUT_NETWORK = (TFIDF, UNIGRAM, TRIGRAM)
"""Conditions that train no network."""
BASELINES = ("bag_of_embeddings", *WITHOUT_NETWORK)
LONGEST_CELL = 120


def cell_name(swept: Mapping[str, Any], tuned: Mapping[str, Any], stage: str) -> str:
    """Return the folder name of a cell, such as ``layers=6,learning_rate=0.001``; ``default`` where nothing varies.

    What tuning chose is no part of a final run's cell, which is a row of the table; a tuning trial's cell names what
    it tried and starts with ``tune,``. Names are sorted, and equal numbers are spelled equally (``1e-3`` and
    ``0.001``). What a folder name cannot hold is replaced and told apart by a digest.
    """
    values = {**swept, **tuned} if stage == "tune" else dict(swept)
    labels = short_names(values)
    cell = ",".join(f"{labels[name]}={spell(values[name])}" for name in sorted(values)) or "default"
    return path_safe(f"tune,{cell}" if stage == "tune" else cell)


def run_name(record: Record) -> str:
    """Return ``<condition>/<cell>/seed_<n>``, the run's folder below its grid and corpus."""
    cell = cell_name(record.swept, record.tuned, record.stage)
    return f"{path_safe(record.condition)}/{cell}/seed_{record.seed}"


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Map dotted names to their last parts (``model.layers`` to ``layers``) where these tell them apart."""
    names = tuple(names)
    last = Counter(name.rsplit(".", 1)[-1] for name in names)
    return {name: name if last[name.rsplit(".", 1)[-1]] > 1 else name.rsplit(".", 1)[-1] for name in names}


def spell(value: Any) -> str:
    """Return a value as tables and folder names show it: ``0.001``, ``6``, ``true``, ``none``, ``a+b`` for a list."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    if isinstance(value, list | tuple):
        return "+".join(spell(item) for item in value)
    return str(value)


def path_safe(name: str) -> str:
    """Return ``name`` as a single folder name; a changed name ends in a digest of the original."""
    safe = re.sub(r"[^A-Za-z0-9._+=,-]", "-", name)[:LONGEST_CELL]
    if safe != name or safe.startswith("."):
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        safe = f"{safe.lstrip('.')}~{digest}"
    return safe


def order_conditions(names: Iterable[str], order: Sequence[str] = ()) -> list[str]:
    """Sort condition names: as in ``order``, then as in the registry of variants, then by name; baselines last."""
    ranks = {name: rank for rank, name in enumerate(dict.fromkeys([*order, *VARIANTS]))}

    def rank(name: str) -> tuple[int, int, str]:
        baseline = BASELINES.index(name) + 1 if name in BASELINES else 0
        return baseline, ranks.get(name, len(ranks)), name

    return sorted(set(names), key=rank)


def sort_key(value: Any) -> tuple[int, float, str]:
    """Return a key that sorts swept values: nothing first, then numbers by size, then everything else by spelling."""
    if value is None:
        return 0, 0.0, ""
    if isinstance(value, int | float):
        return 1, float(value), ""
    return 2, 0.0, spell(value)
