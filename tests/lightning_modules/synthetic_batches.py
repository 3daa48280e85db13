"""Small made-up batches, and a data module that serves them: what the model's tests train on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_modules.config import ModelConfig
from lightning_modules.facts import TaskFacts
from lightning_modules.network.network import Network, build_network
from lightning_modules.tasks.classification import TextClassifier

FACTS = TaskFacts(
    vocabulary_size=40,
    class_names=("north", "south", "west"),
    class_counts=(30, 20, 10),
    padding_id=0,
    max_length=12,
    steps_per_epoch=6,
)


def make_batch(rows: int, seed: int = 0, length: int = FACTS.max_length) -> dict[str, Tensor]:
    """Rows of random tokens, padded at the end; the first token decides the label. One row has full length."""
    generator = torch.Generator().manual_seed(seed)
    input_ids = torch.randint(1, FACTS.vocabulary_size, (rows, length), generator=generator)
    lengths = torch.randint(1, length + 1, (rows, 1), generator=generator)
    lengths[0] = length
    attention_mask = torch.arange(length) < lengths
    return {
        "input_ids": input_ids * attention_mask,
        "attention_mask": attention_mask,
        "labels": input_ids[:, 0] % len(FACTS.class_names),
        "rows": torch.arange(rows),
    }


class SyntheticText(LightningDataModule):
    """Six training batches of 16 rows, the last one of 5; three validation batches, the last one of 3 rows."""

    def __init__(self) -> None:
        super().__init__()
        self.facts = replace(FACTS)
        self.train_batches = [make_batch(16, seed) for seed in range(5)] + [make_batch(5, 5)]
        self.validation_batches = [make_batch(16, 10), make_batch(16, 11), make_batch(3, 12)]

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.train_batches, batch_size=None)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.validation_batches, batch_size=None)

    def test_dataloader(self) -> DataLoader:
        return DataLoader(self.validation_batches, batch_size=None)

    def train_sample(self, rows: int) -> dict[str, Tensor]:
        return {name: value[:rows] for name, value in self.train_batches[0].items()}


def make_network(dtype: torch.dtype = torch.float32, **settings: Any) -> Network:
    """A network of two layers and width 16, unless told otherwise, in evaluation mode."""
    config = ModelConfig(**{"layers": 2, "width": 16, "dropout": 0.0, **settings})
    network = build_network(
        config,
        vocabulary_size=FACTS.vocabulary_size,
        outputs=len(FACTS.class_names),
        max_length=FACTS.max_length,
        padding_id=FACTS.padding_id,
    )
    return network.to(dtype).eval()


def make_classifier(**settings: Any) -> TextClassifier:
    """A classifier of two layers and width 16, unless told otherwise."""
    return TextClassifier(**{"layers": 2, "width": 16, **settings})


def make_trainer(**settings: Any) -> Trainer:
    """A silent trainer on the CPU that logs every second step and writes nothing unless told to."""
    defaults: dict[str, Any] = {
        "accelerator": "cpu",
        "max_epochs": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 2,
    }
    return Trainer(**{**defaults, **settings})
