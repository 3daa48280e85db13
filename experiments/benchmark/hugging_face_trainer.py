"""BERT in the ``Trainer`` of ``transformers``: as the usual script runs it, and as a skilled user does."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from datasets import Dataset
from lightning.pytorch import seed_everything
from transformers import (
    DataCollatorWithPadding,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    default_data_collator,
)
from transformers.trainer_callback import PrinterCallback

from experiments.benchmark.peers import bert
from experiments.benchmark.roster import dropout_of, precision_of
from experiments.benchmark.task import BenchmarkTask, SideTiming, Work
from experiments.errors import ExperimentError
from lightning_modules.training.optimization import build_optimizer, build_schedule

Collator = Callable[[list[dict[str, Any]]], dict[str, Any]]


class Clock(TrainerCallback):
    """Times training: from its first step to its last, without the Trainer's own set-up.

    Args:
        ready: is called right before the clock starts.

    Attributes:
        seconds: time spent training, in seconds.
    """

    def __init__(self, ready: Callable[[], object]) -> None:
        self.ready = ready
        self.seconds = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Start the clock."""
        self.ready()
        self.started = time.perf_counter()

    def on_train_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Stop the clock."""
        self.seconds = time.perf_counter() - self.started


def train_with_random_batches(task: BenchmarkTask) -> SideTiming:
    """Train as the usual script does: random batches, each padded to its longest row, float32, BERT's own dropout."""
    usual = replace(task, dropout=dropout_of("hf_trainer", task.dropout))
    collator = DataCollatorWithPadding(tokenizer(usual))
    return train_in_trainer("hf_trainer", usual, bert_from_seed(usual), rows(usual), collator)


def train_with_fixed_padding(task: BenchmarkTask) -> SideTiming:
    """Train like the usual script, on rows padded to ``data.max_length``, 128 by default.

    So does the example script ``run_glue.py`` of ``transformers`` unless told otherwise (``pad_to_max_length``): the
    rows are padded before training begins.
    """
    usual = replace(task, dropout=dropout_of("hf_trainer_fixed", task.dropout))
    padded = tokenizer(usual).pad(rows(usual)[:], padding="max_length", max_length=usual.data.facts.max_length)
    fixed = Dataset.from_dict(dict(padded))
    return train_in_trainer("hf_trainer_fixed", usual, bert_from_seed(usual), fixed, default_data_collator)


def train_as_a_skilled_user(task: BenchmarkTask) -> SideTiming:
    """Train in the configured precision, on batches that the ``Trainer`` groups by length."""
    collator = DataCollatorWithPadding(tokenizer(task))
    own = {"train_sampling_strategy": "group_by_length"}
    return train_in_trainer("hf_trainer_tuned", task, bert_from_seed(task), rows(task), collator, own)


TRAINERS: dict[str, Callable[[BenchmarkTask], SideTiming]] = {
    "hf_trainer": train_with_random_batches,
    "hf_trainer_fixed": train_with_fixed_padding,
    "hf_trainer_tuned": train_as_a_skilled_user,
}
"""Ways to use the ``Trainer``, by side."""


def bert_from_seed(task: BenchmarkTask) -> Any:
    """Return the untrained BERT; its weights depend on the configured seed alone."""
    seed_everything(task.config.seed, verbose=False)
    return bert(task)


def rows(task: BenchmarkTask) -> Dataset:
    """Return the training rows as the ``Trainer`` wants them: ``input_ids``, ``attention_mask`` and ``label``."""
    split = task.data.encoded.splits["train"]
    ids = [split.tokens[start:end].tolist() for start, end in pairwise(split.offsets)]
    masks = [[1] * len(row) for row in ids]
    assert split.labels is not None
    return Dataset.from_dict({"input_ids": ids, "attention_mask": masks, "label": split.labels.tolist()})


def tokenizer(task: BenchmarkTask) -> PreTrainedTokenizerFast:
    """Return the task's tokenizer as ``transformers`` wraps it, which pads rows."""
    ours = task.data.encoded.tokenizer
    return PreTrainedTokenizerFast(
        tokenizer_object=ours.backend,
        pad_token=ours.backend.id_to_token(ours.padding_id),
        model_max_length=task.data.facts.max_length,
    )


def train_in_trainer(
    side: str,
    task: BenchmarkTask,
    network: Any,
    dataset: Dataset,
    collator: Collator,
    own: Mapping[str, Any] | None = None,
) -> SideTiming:
    """Train a network for one epoch in the ``Trainer``, with the task's optimiser, schedule and clipping.

    Args:
        side: whose precision it trains in.
        task: gives batch size, optimiser, schedule and seed.
        network: a model of ``transformers`` that returns its loss; trained in place.
        dataset: one entry per row.
        collator: makes a padded batch of a list of entries.
        own: further settings of the ``Trainer``.

    Raises:
        ExperimentError: for a precision other than ``32-true`` and ``bf16-mixed``.
    """
    torch.use_deterministic_algorithms(False)  # Lightning switches it on for the whole process
    optimizer = build_optimizer(task.config.model, network)
    schedule = build_schedule(task.config.model, optimizer, task.step_count)
    work, clock = Work(), Clock(task.ready)

    def counting(entries: list[dict[str, Any]]) -> dict[str, Any]:
        batch = collator(entries)
        work.add(batch["attention_mask"])
        return batch

    with tempfile.TemporaryDirectory() as folder:
        precision = precision_of(side, task.config.trainer.precision)
        trainer = Trainer(
            model=network,
            args=TrainingArguments(output_dir=folder, **settings(task, precision), **(own or {})),
            data_collator=counting,
            train_dataset=dataset,
            optimizers=(optimizer, schedule),
            callbacks=[clock],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return SideTiming(
        seconds=clock.seconds,
        rows=work.rows,
        tokens=work.tokens,
        positions=work.positions,
        steps=trainer.state.global_step,
        parameters={name: value.detach() for name, value in network.named_parameters()},
    )


def settings(task: BenchmarkTask, precision: str) -> dict[str, Any]:
    """Return the ``Trainer``'s settings: its defaults, but on the CPU, and without checkpoints, reports or a bar.

    Raises:
        ExperimentError: for a precision other than ``32-true`` and ``bf16-mixed``.
    """
    if precision not in ("32-true", "bf16-mixed"):
        raise ExperimentError(f"the Trainer of transformers trains in 32-true or bf16-mixed here, not in {precision}")
    return {
        "use_cpu": True,
        "bf16": precision == "bf16-mixed",
        "num_train_epochs": 1,
        "per_device_train_batch_size": task.config.data.batch_size,
        "max_grad_norm": task.config.trainer.gradient_clip_val or 0.0,
        "seed": task.config.seed,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }
