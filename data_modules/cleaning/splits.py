"""Cut and thin splits: seeded, stratified by class, and by group if rows hang together.

Rows without labels are cut and thinned as rows of one class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_modules.errors import DataError

LARGEST_GROUP_SHARE = 0.25  # of a class's rows in a cut: one long file must not be the whole test of its class


def cut(
    labels: NDArray[np.int64],
    groups: NDArray[Any] | None,
    fraction: float,
    seed: int,
    class_names: Sequence[str] | None = None,
) -> NDArray[np.bool_]:
    """Choose rows for an evaluation split.

    Without groups every class gives its share, rounded, but at least one row. With groups, whole groups are taken in
    random order as long as each brings the class counts closer to their targets (least squares); groups that would
    fill more than a quarter of a class's target come last.

    Args:
        labels: (N,) class indices.
        groups: (N,) group names, or numbers in the order of the names, or none.
        fraction: share of rows to choose, between 0 and 1.
        seed: seed of the choice.
        class_names: names by class index; where given, classes take their turns in the order of their names, so that
            the choice does not depend on how they are numbered.

    Returns:
        (N,) mask, true for chosen rows.

    Raises:
        DataError: there are too few rows or groups for every class to be in both parts.
    """
    names = np.array(class_names or (), dtype=str)
    if class_names is not None:
        names, places = np.unique(names, return_inverse=True)
        labels = places[labels]
    classes, inverse = np.unique(labels, return_inverse=True)
    totals = np.bincount(inverse, minlength=len(classes))
    target = np.maximum(1, np.rint(totals * fraction)).astype(np.int64)
    if (totals < 2).any():
        rare = [str(label if class_names is None else names[label]) for label in classes[totals < 2]]
        shown = ", ".join(map(repr, rare[:5])) + (f" and {len(rare) - 5} more" if len(rare) > 5 else "")
        raise DataError(
            f"{len(rare)} of {len(classes)} classes have 1 training row each, too few to cut a split from ({shown}); "
            "give files for the splits, merge classes, or drop these with data.minimum_class_rows"
        )
    target = np.minimum(target, totals - 1)
    generator = np.random.default_rng(seed)
    if groups is None:
        chosen = np.zeros(len(labels), dtype=bool)
        for index, wanted in enumerate(target):
            chosen[generator.permutation(np.flatnonzero(inverse == index))[:wanted]] = True
        return chosen
    return _cut_groups(inverse, groups, target, generator)


def _cut_groups(
    classes: NDArray[np.int64], groups: NDArray[Any], target: NDArray[np.int64], generator: np.random.Generator
) -> NDArray[np.bool_]:
    _, member = np.unique(groups, return_inverse=True)
    counts = np.zeros((member.max() + 1, len(target)), dtype=np.int64)  # (groups, classes)
    np.add.at(counts, (member, classes), 1)
    order = generator.permutation(len(counts))
    large = (counts > np.maximum(1, LARGEST_GROUP_SHARE * target)).any(axis=1)
    largest_last = np.where(large, counts.sum(axis=1), 0)
    order = order[np.argsort(largest_last[order], kind="stable")]
    reached = np.zeros_like(target)
    chosen_groups = np.zeros(len(counts), dtype=bool)
    total = counts.sum(axis=0)
    for group in order:
        after = reached + counts[group]
        closer = np.square(after - target).sum() < np.square(reached - target).sum()
        if closer and (after < total).all():  # every class must stay in the rest, too
            reached, chosen_groups[group] = after, True
    if not reached.all():
        raise DataError(f"{len(counts)} groups are too few to cut a split that holds every class")
    return chosen_groups[member]


def subset(labels: NDArray[np.int64], rows: int, seed: int) -> NDArray[np.int64]:
    """Choose ``rows`` rows at random, every class by its share (largest remainders), in their original order.

    A class whose share rounds to nothing keeps one row, at the cost of the class with the most.

    Subsets of one seed are nested: a smaller one is part of a larger one, up to rounding of the classes' shares.
    """
    if rows >= len(labels):
        return np.arange(len(labels))
    _, inverse, totals = np.unique(labels, return_inverse=True, return_counts=True)
    exact = rows * totals / len(labels)
    wanted = np.floor(exact).astype(np.int64)
    remainders = np.argsort(wanted - exact, kind="stable")
    wanted[remainders[: rows - wanted.sum()]] += 1
    for index in np.flatnonzero(wanted == 0):
        wanted[index], wanted[wanted.argmax()] = 1, wanted.max() - 1
    order = np.random.default_rng(seed).permutation(len(labels))
    kept = [order[inverse[order] == index][:count] for index, count in enumerate(wanted)]
    return np.sort(np.concatenate(kept))
