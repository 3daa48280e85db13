"""Text augmentation by random deletion and random swap, on token ids, for training batches alone."""

from __future__ import annotations

from collections.abc import Iterator
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


class EpochOrder(BatchOrder):
    """Yields the epoch and the row indices of each training batch: what is deleted and swapped depends on the epoch."""

    def __iter__(self) -> Iterator[Any]:
        for rows in super().__iter__():
            yield self.epoch, rows


class AugmentedBatches(BatchDataset):
    """Fetches training batches whose rows were augmented: ``dataset[epoch, rows]``.

    What becomes of a row depends on (seed, epoch, row) alone, so a resumed run sees what it would have seen.
    """

    def __init__(self, split: EncodedSplit, padding_id: int, seed: int) -> None:
        super().__init__(split, padding_id)
        self.seed = seed

    def __getitem__(self, place: Any) -> Batch:
        epoch, rows = place
        offsets, tokens = self.split.offsets, self.split.tokens
        texts = [
            delete_and_swap(
                tokens[offsets[row] : offsets[row + 1]], np.random.default_rng([self.seed, int(epoch), int(row)])
            )
            for row in rows
        ]
        lengths = np.array([len(text) for text in texts])
        mask = np.arange(max(1, lengths.max())) < lengths[:, None]  # (B, T)
        input_ids = np.full(mask.shape, self.padding_id, dtype=np.int64)
        input_ids[mask] = np.concatenate(texts)
        return self._batch(rows, input_ids, mask)
