"""The LightningDataModule for rows of text that have a class each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch.utils.data import DataLoader

from data_modules.batches.augmentation import AugmentedBatches, EpochOrder
from data_modules.batches.batching import Batch, BatchDataset, BatchOrder, EvaluationOrder
from data_modules.batches.sharing import ALONE, Share
from data_modules.errors import DataError
from data_modules.mapped import mapped_permutation
from data_modules.text_base import TextBase
from data_modules.tokens.encoding import EncodedSplit, pack

TRAIN_SAMPLE_ROWS = 2_000


@dataclass(frozen=True, kw_only=True)
class TextFacts:
    """What a model and its schedule must know about the data."""

    vocabulary_size: int
    class_names: tuple[str, ...]
    """Names of the classes, by index; empty for rows without labels."""
    class_counts: tuple[int, ...]
    """Training rows of each class; empty for rows without labels."""
    padding_id: int
    max_length: int
    """Most tokens of a row."""
    train_rows: int
    """Training rows."""
    steps_per_epoch: int
    """Training batches in an epoch."""
    train_tokens: int
    """Real tokens of all training rows, at most ``max_length`` of each."""
    tokenizer_sha256: str = ""
    """SHA-256 of the tokenizer."""
    text_sha256: str = ""
    """Digest of the rows of all splits."""


class TextDataModule(TextBase):
    """Rows of text, as length-grouped batches of token ids.

    If its trainer has several processes, they share the rows of every batch. A subclass with
    ``labels_required = False`` takes rows without labels as well; its batches then have no ``labels``.
    """

    labels_required = True

    @cached_property
    def facts(self) -> TextFacts:
        """Sizes and names that the model is built from."""
        train = self.encoded.splits["train"]
        names = self.corpus.class_names
        counts = () if train.labels is None else tuple(np.bincount(train.labels, minlength=len(names)).tolist())
        return TextFacts(
            vocabulary_size=self.encoded.tokenizer.vocabulary_size,
            class_names=names,
            class_counts=counts,
            padding_id=self.encoded.tokenizer.padding_id,
            max_length=self.config.max_length,
            train_rows=len(train),
            steps_per_epoch=-(-len(train) // self.config.batch_size),
            train_tokens=int(train.lengths.sum()),
            tokenizer_sha256=hashlib.sha256(self.encoded.tokenizer.backend.to_str().encode()).hexdigest(),
            text_sha256=self.corpus.split_hash,
        )

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the training batches, in an order that depends on ``data.seed`` and the epoch alone."""
        self._refuse_overfitting()
        config = self.config
        split = self.encoded.splits["train"]
        plain, padding_id = config.augmentation == "none", self.encoded.tokenizer.padding_id
        order = (BatchOrder if plain else EpochOrder)(
            split.lengths,
            config.batch_size,
            config.seed,
            length_grouped=config.length_grouped,
            share=self.share(),
        )
        if plain:
            return self.loader(BatchDataset(split, padding_id), order)
        return self.loader(AugmentedBatches(split, padding_id, config.seed, config.augmentation), order)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the validation batches; ``rows`` in a batch say which rows of the split they hold."""
        return self._evaluation_loader(self.split("validation"), share=self.share())

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return the test batches.

        Raises:
            DataError: in stage ``tune``, which must not see the test split.
        """
        return self._evaluation_loader(self.split("test"), share=self.share())

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Return the test rows in stage ``final``, the validation rows in stage ``tune``, in their own order."""
        split = self.split("test" if self.config.stage == "final" else "validation")
        return self._evaluation_loader(split, share=self.share(), by_length=False)

    def _refuse_overfitting(self) -> None:
        """Refuse a flag of Lightning's trainer that would put single rows in place of batches."""
        if getattr(self.trainer, "overfit_batches", 0):
            raise DataError("trainer.overfit_batches is not supported; use data.max_train_rows for a few training rows")

    def train_sample_dataloader(self) -> DataLoader[Batch]:
        """Return a fixed sample of at most 2,000 training rows, the same for every seed, as evaluation batches."""
        return self._evaluation_loader(self.split("train"), rows=self._train_sample_order()[:TRAIN_SAMPLE_ROWS])

    def train_sample(self, rows: int) -> Batch:
        """Return the first ``rows`` rows of the fixed training sample as one batch; no random generator is used."""
        return BatchDataset(self.split("train"), self.encoded.tokenizer.padding_id)[self._train_sample_order()[:rows]]

    def _train_sample_order(self) -> np.ndarray:
        return mapped_permutation(len(self.split("train")), np.random.default_rng(self.config.split_seed))

    def text_batches(self, texts: Sequence[str]) -> Iterator[Batch]:
        """Yield batches of new texts, cleaned and tokenised as the corpus was; ``rows`` are their positions.

        The labels of these batches are all zero.
        """
        yield from self._evaluation_loader(pack(self.encode_texts(texts), np.zeros(len(texts), dtype=np.int64)))

    def _evaluation_loader(
        self, split: EncodedSplit, rows: np.ndarray | None = None, share: Share = ALONE, *, by_length: bool = True
    ) -> DataLoader[Batch]:
        batches, size = BatchDataset(split, self.encoded.tokenizer.padding_id), self.config.evaluation_batch_size
        return self.loader(batches, EvaluationOrder(split.lengths, size, rows, share, by_length=by_length))
