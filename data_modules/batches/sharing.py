"""Batches whose rows several processes share, each row in one process."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_modules.errors import DataError


@dataclass(frozen=True)
class Share:
    """The part of every batch that one of several processes takes.

    A batch has the rows that one process alone would take. So the number of processes does not change the steps of an
    epoch; it changes the gradient of a step by rounding alone. Each of two processes takes every other row, which keeps
    rows of similar length together.
    """

    process: int = 0
    """Number of the process, from 0."""

    processes: int = 1
    """Number of processes that share a batch."""

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return this process's rows of a batch; every row is in one share."""
        return rows[self.process :: self.processes]

    def of_training(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return this process's rows of a training batch: at least one.

        Gradients are averaged over processes, so each process needs a row. If a batch has fewer rows than there are
        processes, some rows are taken more than once.
        """
        shared = self.of(rows)
        return shared if len(shared) else rows[[self.process % len(rows)]]

    def batches(self, order: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
        """Return batches of ``size`` rows of which every process has a part, as all of them must take equal steps.

        The last batch may be smaller. If it has fewer rows than there are processes, the batch before it takes them in.

        Raises:
            DataError: there are fewer rows than processes.
        """
        if len(order) < self.processes:
            raise DataError(f"{len(order)} rows cannot be shared by {self.processes} processes; use fewer devices")
        cut = [order[start : start + size] for start in range(0, len(order), size)]
        if len(cut) > 1 and len(cut[-1]) < self.processes:
            cut[-2:] = [np.concatenate(cut[-2:])]
        return cut


ALONE = Share()
"""The share of a process that takes all rows."""
