"""The sides of the benchmark: each trains the same task in its own way.

Ours train in the configured precision; those of others train in float32, as they do by default.
"""

from __future__ import annotations

from experiments.benchmarking.own_sides import train_with_a_plain_loop, train_with_lightning
from experiments.benchmarking.peers import train_bert, train_torch_encoder, train_x_transformers
from experiments.benchmarking.task import Side, Task, Timing
from experiments.benchmarking.worker_sides import train_with_workers
from experiments.planning.names import reject_unknown


def train_with_hf_trainer(task: Task) -> Timing:
    """Train BERT in the ``Trainer`` of ``transformers``, random batches padded to the longest row."""
    from experiments.benchmarking.hugging_face_trainer import train_with_random_batches  # its import takes seconds

    return train_with_random_batches(task)


def train_with_hf_trainer_fixed(task: Task) -> Timing:
    """Train BERT in the ``Trainer`` of ``transformers``, rows padded to a fixed length."""
    from experiments.benchmarking.hugging_face_trainer import train_with_fixed_padding

    return train_with_fixed_padding(task)


SIDES: dict[str, Side] = {
    "lightning": train_with_lightning,
    "workers": train_with_workers,
    "plain": train_with_a_plain_loop,
    "torch_encoder": train_torch_encoder,
    "hf_bert": train_bert,
    "hf_trainer": train_with_hf_trainer,
    "hf_trainer_fixed": train_with_hf_trainer_fixed,
    "x_transformers": train_x_transformers,
}


def named_side(name: str) -> Side:
    """Return a side by its name.

    Raises:
        ExperimentError: where there is none of this name; the message names the nearest.
    """
    reject_unknown("side", name, SIDES)
    return SIDES[name]
