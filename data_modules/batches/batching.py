"""Batches of rows of similar length, in an order that depends on the seed and the epoch alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, DistributedSampler

from data_modules.batches.sharing import ALONE, Share
from data_modules.mapped import mapped_permutation
from data_modules.tokens.encoding import EncodedSplit

Batch = dict[str, Tensor]
BATCHES_PER_POOL = 50  # rows are sorted by length within pools of this many batches: little padding, still random


class BatchDataset(Dataset[Batch]):
    """Fetches a whole batch at once: ``dataset[rows]`` for an array of row indices.

    A batch holds ``input_ids`` (B, T) int64, padded to its longest row; ``attention_mask`` (B, T) bool, true at real
    tokens; and ``rows`` (B,) int64, the row indices. If rows have labels, it holds ``labels`` (B,) int64 too.
    """

    def __init__(self, split: EncodedSplit, padding_id: int) -> None:
        self.split = split
        self.padding_id = padding_id

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, rows: NDArray[np.int64]) -> Batch:
        starts = self.split.offsets[rows]
        lengths = self.split.offsets[rows + 1] - starts
        positions = np.arange(max(1, lengths.max()))
        mask = positions < lengths[:, None]  # (B, T)
        input_ids = np.full(mask.shape, self.padding_id, dtype=np.int64)
        input_ids[mask] = self.split.tokens[(starts[:, None] + positions)[mask]]
        return self._batch(rows, input_ids, mask)

    def _batch(self, rows: NDArray[np.int64], input_ids: NDArray[np.int64], mask: NDArray[np.bool_]) -> Batch:
        batch = {
            "input_ids": torch.from_numpy(input_ids),
            "attention_mask": torch.from_numpy(mask),
            "rows": torch.from_numpy(np.array(rows)),
        }
        if self.split.labels is not None:
            batch["labels"] = torch.from_numpy(np.array(self.split.labels[rows]))
        return batch


class WholeBatches(DistributedSampler[NDArray[np.int64]]):
    """A sampler whose items are the rows of whole batches, which processes share by :class:`Share`.

    Lightning replaces a sampler that is not distributed by its own, which yields single rows. The base class prevents
    this; nothing else of it is used.
    """

    def __init__(self) -> None:
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order is yielded next."""
        self.epoch = epoch


class BatchOrder(WholeBatches):
    """Yields the row indices of each training batch; every row once per epoch.

    Lightning calls :meth:`set_epoch` on a loader's ``sampler`` before every epoch, after a resume too, so epoch k has
    the same order in a resumed run.

    Args:
        lengths: (N,) tokens of each row.
        batch_size: rows in a batch; the last one of an epoch's pools may be smaller.
        seed: seed of the order.
        length_grouped: whether to batch rows of similar length together.
        share: the part of every batch that this process takes.
    """

    def __init__(
        self,
        lengths: NDArray[np.int64],
        batch_size: int,
        seed: int,
        *,
        length_grouped: bool = True,
        share: Share = ALONE,
    ) -> None:
        super().__init__()
        self.lengths = np.asarray(lengths)
        self.batch_size = batch_size
        self.seed = seed
        self.length_grouped = length_grouped
        self.share = share

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        return (self.share.of_training(rows) for rows in self._batches())

    def _batches(self) -> Iterator[NDArray[np.int64]]:
        generator = np.random.default_rng([self.seed, self.epoch])
        order = mapped_permutation(len(self.lengths), generator)
        if not self.length_grouped:
            yield from _cut(order, self.batch_size)
            return
        for pool in _cut(order, self.batch_size * BATCHES_PER_POOL):
            pool[:] = pool[np.argsort(self.lengths[pool], kind="stable")]
        for index in generator.permutation(len(self)):
            yield order[index * self.batch_size : (index + 1) * self.batch_size]


class EvaluationOrder(WholeBatches):
    """Yields the given rows in batches, the same order every time: shortest first, which wastes least on padding.

    Args:
        lengths: (N,) tokens of each row of the split.
        batch_size: rows in a batch; the last one may be smaller.
        rows: row indices to yield; all by default.
        share: the part of every batch that this process takes; no row is in two parts.
        by_length: whether the shortest rows come first; otherwise rows come in the order given.

    Raises:
        DataError: there are fewer rows than processes.
    """

    def __init__(
        self,
        lengths: NDArray[np.int64],
        batch_size: int,
        rows: NDArray[np.int64] | None = None,
        share: Share = ALONE,
        *,
        by_length: bool = True,
    ) -> None:
        super().__init__()
        rows = np.arange(len(lengths)) if rows is None else rows
        order = rows[np.argsort(np.asarray(lengths)[rows], kind="stable")] if by_length else rows
        self.batches = [share.of(batch) for batch in share.batches(order, batch_size)]

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        return iter(self.batches)


def _cut(order: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    return (order[start : start + size] for start in range(0, len(order), size))
