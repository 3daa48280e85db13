"""What the processes that train one model together must agree on; a single process has nothing to ask."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray
from torch import Tensor, distributed, nn
from torch.distributed.tensor import DTensor


class FullyShardedStrategy(ModelParallelStrategy):
    """Fully sharded data parallelism (ZeRO stage 3, arXiv:1910.02054; PyTorch's ``fully_shard``, arXiv:2304.11277).

    Lightning's ``ModelParallelStrategy`` over all processes, without tensor parallelism, and with whole checkpoints.
    Unlike Lightning's ``fsdp`` it runs on CPUs too.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False, **settings)

    def setup_environment(self) -> None:
        """Let all processes share the model."""
        self._data_parallel_size = self.num_processes * self.num_nodes
        super().setup_environment()


def is_first_process() -> bool:
    """Tell whether this process speaks for all: it alone writes files and prints."""
    return getattr(rank_zero_only, "rank", 0) == 0


def total(trainer: Trainer, count: int) -> int:
    """Return the sum of a count over all processes."""
    return int(total_counts(trainer, np.array(count)))


def total_counts(trainer: Trainer, counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the sum of an array of counts over all processes."""
    if trainer.world_size == 1:
        return counts
    own = torch.from_numpy(counts).to(trainer.strategy.root_device)
    return trainer.strategy.reduce(own, reduce_op="sum").cpu().numpy()


def rows_of_all(input_ids: Tensor, attention_mask: Tensor, processes: int) -> tuple[Tensor, Tensor]:
    """Return the rows that all processes hold of a batch, ids and mask, in the order of the processes.

    Args:
        input_ids: ``(B, T)``; B and T may differ between processes.
        attention_mask: ``(B, T)``.
        processes: how many share the batch; a single one has all rows.
    """
    if processes == 1:
        return input_ids, attention_mask
    own = torch.stack((input_ids, attention_mask.to(input_ids.dtype)))  # 2, B, T
    largest = torch.tensor(own.shape[1:], device=own.device)
    distributed.all_reduce(largest, distributed.ReduceOp.MAX)
    rows, length = largest.tolist()
    own = F.pad(own, (0, length - own.shape[2], 0, rows - own.shape[1]))
    gathered = [torch.empty_like(own) for _ in range(processes)]
    distributed.all_gather(gathered, own)
    ids, mask = torch.cat(gathered, dim=1)
    real = mask.any(dim=1)
    return ids[real], mask[real].to(attention_mask.dtype)


def mean(trainer: Trainer, value: Tensor) -> float:
    """Return the mean of a number over all processes."""
    return float(
        value if trainer.world_size == 1 else trainer.strategy.reduce(value.detach().clone(), reduce_op="mean")
    )


def weighted_by_rows(trainer: Trainer, loss: Tensor, rows: int) -> Tensor:
    """Scale a mean loss over ``rows`` rows so that the mean over all processes is the mean over all their rows.

    Gradients are averaged over processes alike, and a ragged batch gives one process more rows than another.
    """
    if trainer.world_size == 1:
        return loss
    return loss * (rows * trainer.world_size / total(trainer, rows))


def whole(tensor: Tensor) -> Tensor:
    """Return the whole of a tensor, of which this process may hold only a part."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def gradient_norm(parameters: list[nn.Parameter]) -> Tensor:
    """Return the L2 norm of the gradients of all processes' parts of the parameters."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return whole(torch.nn.utils.get_total_norm(gradients))
