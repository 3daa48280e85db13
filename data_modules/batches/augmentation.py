"""Text augmentation by deletion and swap or by cropping, on token ids, for training batches alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_modules.batches.batching import Batch, BatchDataset, BatchOrder
from data_modules.tokens.encoding import EncodedSplit

STRENGTH = 0.1
"""Share of tokens that is deleted and share that is swapped: α of Wei & Zou 2019 for small data sets."""


def delete_and_swap(
    tokens: NDArray[np.int32], generator: np.random.Generator, strength: float = STRENGTH
) -> NDArray[np.int32]:
    """Return a row with some tokens deleted and some swapped (Wei & Zou 2019, arXiv:1901.11196, section 2).

    Random deletion removes each token with probability α. If it would remove all of them, one token, drawn at random,
    stays. Random swap exchanges two tokens, drawn at random, and does so ``round(α·L)`` times. The first token stays
    where it is: learned and most pretrained tokenizers put ``<cls>`` there.

    Args:
        tokens: (L,) token ids.
        generator: source of random numbers.
        strength: α.

    Returns:
        At least one and at most L token ids.
    """
    first, rest = tokens[:1], np.array(tokens[1:])
    if len(rest) < 2:
        return tokens
    kept = generator.random(len(rest)) >= strength
    if not kept.any():
        kept[generator.integers(len(rest))] = True
    swaps = round(strength * len(rest))
    rest = rest[kept]
    for one, other in generator.integers(0, len(rest), (swaps, 2)):
        rest[one], rest[other] = rest[other], rest[one]
    return np.concatenate([first, rest])


LEAST_KEPT = 0.5
"""Smallest share of a row that a crop keeps: ours, since the article names none."""


def random_crop(
    tokens: NDArray[np.int32], generator: np.random.Generator, least: float = LEAST_KEPT
) -> NDArray[np.int32]:
    """Return a stretch of a row without gaps, of random length at a random place.

    The article names random cropping without a formula; its known form keeps one window of an image. Of L tokens after
    the first, between ``⌈least·L⌉`` and L are kept, each number equally likely, from each place equally likely. The
    first token stays where it is, as in :func:`delete_and_swap`.

    Args:
        tokens: (L + 1,) token ids.
        generator: source of random numbers.
        least: smallest share that is kept.

    Returns:
        At least one and at most L + 1 token ids.
    """
    first, rest = tokens[:1], tokens[1:]
    if len(rest) < 2:
        return tokens
    kept = int(generator.integers(math.ceil(least * len(rest)), len(rest) + 1))
    start = int(generator.integers(0, len(rest) - kept + 1))
    return np.concatenate([first, rest[start : start + kept]])


AUGMENTATIONS: dict[str, Callable[[NDArray[np.int32], np.random.Generator], NDArray[np.int32]]] = {
    "delete_and_swap": delete_and_swap,
    "random_crop": random_crop,
}
"""What ``data.augmentation`` may name apart from ``none``: from a row to another one."""


class EpochOrder(BatchOrder):
    """Yields the epoch and the row indices of each training batch: what becomes of a row depends on the epoch."""

    def __iter__(self) -> Iterator[Any]:
        for rows in super().__iter__():
            yield self.epoch, rows


class AugmentedBatches(BatchDataset):
    """Fetches training batches whose rows were augmented: ``dataset[epoch, rows]``.

    What becomes of a row depends on (seed, epoch, row) alone, so a resumed run sees what it would have seen.

    Args:
        split: training rows.
        padding_id: id of the padding token.
        seed: of what is drawn.
        augmentation: one of :data:`AUGMENTATIONS`.
    """

    def __init__(self, split: EncodedSplit, padding_id: int, seed: int, augmentation: str = "delete_and_swap") -> None:
        super().__init__(split, padding_id)
        self.seed, self.augment = seed, AUGMENTATIONS[augmentation]

    def __getitem__(self, place: Any) -> Batch:
        epoch, rows = place
        offsets, tokens = self.split.offsets, self.split.tokens
        texts = [
            self.augment(
                tokens[offsets[row] : offsets[row + 1]], np.random.default_rng([self.seed, int(epoch), int(row)])
            )
            for row in rows
        ]
        lengths = np.array([len(text) for text in texts])
        mask = np.arange(max(1, lengths.max())) < lengths[:, None]  # (B, T)
        input_ids = np.full(mask.shape, self.padding_id, dtype=np.int64)
        input_ids[mask] = np.concatenate(texts)
        return self._batch(rows, input_ids, mask)
