"""The LightningDataModule for every corpus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Sampler

from data_modules.batches.augmentation import AugmentedBatches, EpochOrder
from data_modules.batches.batching import Batch, BatchDataset, BatchOrder, EvaluationOrder
from data_modules.batches.sharing import ALONE, Share
from data_modules.cleaning.text import clean_text
from data_modules.config import DataConfig
from data_modules.errors import DataError
from data_modules.tokens.encoding import EncodedCorpus, EncodedSplit, encode, pack
from data_modules.tokens.mapped import mapped_permutation

if TYPE_CHECKING:
    from data_modules.sources.load import PreparedCorpus

TRAIN_SAMPLE_ROWS = 2_000


@dataclass(frozen=True, kw_only=True)
class TextFacts:
    """What a model and its schedule must know about the data."""

    vocabulary_size: int
    class_names: tuple[str, ...]
    class_counts: tuple[int, ...]
    """Training rows of each class."""
    padding_id: int
    max_length: int
    """Most tokens of a row."""
    steps_per_epoch: int
    """Training batches in an epoch."""


class TextDataModule(LightningDataModule):
    """Text of any corpus, as length-grouped batches of token ids.

    Where the trainer that it is attached to has several processes, they share the rows of every batch.

    Args:
        settings: the fields of :class:`data_modules.config.DataConfig`.

    Raises:
        DataError: at construction for invalid settings, on first use for unfit data.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.config = DataConfig(**settings)

    def with_seed(self, seed: int) -> TextDataModule:
        """Return the same text, read once for both, with the batch order and augmentation of another seed."""
        self.prepare_data()  # now, so that the copy need not
        other = copy(self)
        other.config = replace(self.config, seed=seed)
        return other

    @cached_property
    def corpus(self) -> PreparedCorpus:
        """The clean, split text; prepared, or read from the cache, on first use."""
        from data_modules.sources.load import prepare  # which needs pandas: help is to appear sooner

        return prepare(self.config)

    @cached_property
    def encoded(self) -> EncodedCorpus:
        """The splits as token ids, and their tokenizer."""
        return encode(self.corpus, self.config)

    @cached_property
    def facts(self) -> TextFacts:
        """Sizes and names that the model is built from."""
        train = self.encoded.splits["train"]
        class_names = self.corpus.class_names
        return TextFacts(
            vocabulary_size=self.encoded.tokenizer.vocabulary_size,
            class_names=class_names,
            class_counts=tuple(np.bincount(train.labels, minlength=len(class_names)).tolist()),
            padding_id=self.encoded.tokenizer.padding_id,
            max_length=self.config.max_length,
            steps_per_epoch=-(-len(train) // self.config.batch_size),
        )

    def prepare_data(self) -> None:
        """Fill the cache once, before worker processes need it."""
        _ = self.encoded  # built on first use

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the training batches, in an order that depends on ``data.seed`` and the epoch alone."""
        config = self.config
        split = self.encoded.splits["train"]
        plain, padding_id = config.augmentation == "none", self.encoded.tokenizer.padding_id
        order = (BatchOrder if plain else EpochOrder)(
            split.lengths,
            config.batch_size,
            config.seed,
            length_grouped=config.length_grouped,
            share=self._share(),
        )
        batches = BatchDataset(split, padding_id) if plain else AugmentedBatches(split, padding_id, config.seed)
        return self._loader(batches, order)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the validation batches; ``rows`` in a batch say which rows of the split they hold."""
        return self._evaluation_loader(self._split("validation"), share=self._share())

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return the test batches.

        Raises:
            DataError: in stage ``tune``, which must not see the test split.
        """
        return self._evaluation_loader(self._split("test"), share=self._share())

    def train_sample_dataloader(self) -> DataLoader[Batch]:
        """Return a fixed sample of at most 2,000 training rows, the same for every seed, as evaluation batches."""
        return self._evaluation_loader(self._split("train"), rows=self._train_sample_order()[:TRAIN_SAMPLE_ROWS])

    def train_sample(self, rows: int) -> Batch:
        """Return the first ``rows`` rows of the fixed training sample as one batch; no random generator is used."""
        return BatchDataset(self._split("train"), self.encoded.tokenizer.padding_id)[self._train_sample_order()[:rows]]

    def _train_sample_order(self) -> np.ndarray:
        return mapped_permutation(len(self._split("train")), np.random.default_rng(self.config.split_seed))

    def groups(self, split: str) -> list[str] | None:
        """Return the group of every row of a split, or none where the corpus has no groups."""
        self._split(split)
        rows = self.corpus.splits[split]
        return rows["group"][:] if "group" in rows.column_names else None

    def texts(self, split: str) -> list[str]:
        """Return the clean text of every row of a split."""
        self._split(split)
        return self.corpus.splits[split]["text"][:]

    def text_batches(self, texts: Sequence[str]) -> Iterator[Batch]:
        """Yield batches of new texts, cleaned and tokenised as the corpus was; ``rows`` are their positions.

        The labels of these batches are all zero.
        """
        cleaned = [clean_text(text) for text in texts] if self.config.clean else list(texts)
        split = pack(self.encoded.tokenizer.encode(cleaned), np.zeros(len(cleaned), dtype=np.int64))
        yield from self._evaluation_loader(split)

    def _split(self, name: str) -> EncodedSplit:
        if name == "test" and self.config.stage == "tune":
            raise DataError("data.stage is 'tune', which never reads the test split; set data.stage to 'final'")
        return self.encoded.splits[name]

    def _share(self) -> Share:
        """Return the part of every batch that belongs to this process of the attached trainer."""
        trainer = self.trainer
        return ALONE if trainer is None else Share(trainer.global_rank, trainer.world_size)

    def _evaluation_loader(
        self, split: EncodedSplit, rows: np.ndarray | None = None, share: Share = ALONE
    ) -> DataLoader[Batch]:
        batches = BatchDataset(split, self.encoded.tokenizer.padding_id)
        return self._loader(batches, EvaluationOrder(split.lengths, self.config.evaluation_batch_size, rows, share))

    def _loader(self, batches: Dataset[Batch], order: Sampler[Any]) -> DataLoader[Batch]:
        """Build a loader whose sampler names whole batches: ``batch_size=None`` means one fetch per batch."""
        return DataLoader(
            batches,
            sampler=order,
            batch_size=None,
            collate_fn=_as_it_is,
            num_workers=self.config.num_workers,
            persistent_workers=self.config.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )


def _as_it_is(batch: Any) -> Any:
    return batch
