"""What every data module of text shares: source → clean → split → tokens, the guard of the test split, the loaders."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Sampler

from data_modules.batches.sharing import ALONE, Share
from data_modules.cleaning.text import clean_text
from data_modules.config import DataConfig
from data_modules.errors import DataError
from data_modules.tokens.encoding import EncodedCorpus, EncodedSplit, encode

if TYPE_CHECKING:
    from data_modules.cleaning.prepared import PreparedCorpus


class TextBase(LightningDataModule):
    """Text of any corpus, clean, split and tokenised; subclasses make batches of it.

    Args:
        settings: the fields of :class:`data_modules.config.DataConfig`.

    Raises:
        DataError: at construction for invalid settings, on first use for unfit data.
    """

    labels_required = False
    """Whether a corpus without labels is refused."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.config = DataConfig(**settings)

    @classmethod
    def from_config(cls, config: DataConfig) -> Self:
        """Make the data module of a configuration."""
        return cls(**vars(config))

    @classmethod
    def of_encoded(cls, config: DataConfig, encoded: EncodedCorpus) -> Self:
        """Make a data module over token ids that are there already, such as those of text that no run has."""
        data = cls.from_config(config)
        data.encoded = encoded
        return data

    def with_seed(self, seed: int) -> Self:
        """Return a data module of the same text, which is read once, with another seed of order and augmentation."""
        self.prepare_data()  # now, so that the copy need not
        other = copy(self)
        other.config = replace(self.config, seed=seed)
        return other

    @cached_property
    def corpus(self) -> PreparedCorpus:
        """The clean, split text; prepared, or read from the cache, on first use."""
        from data_modules.cleaning.prepared import prepare  # which needs pandas: help is to appear sooner

        corpus = prepare(self.config)
        if self.labels_required and not corpus.class_names:
            raise DataError(
                f"the corpus {corpus.slug} has no labels, and this task needs a class for every row; "
                "name their column with data.label_column"
            )
        return corpus

    @cached_property
    def encoded(self) -> EncodedCorpus:
        """The splits as token ids, and their tokenizer."""
        return encode(self.corpus, self.config)

    def row_count(self, split: str) -> int:
        """Return how many rows an evaluation of a split reads."""
        return len(self.split(split))

    def sizes(self) -> dict[str, Any]:
        """Return what a record says of the text besides its rows; nothing by default."""
        return {}

    def prepare_data(self) -> None:
        """Fill the cache once, before worker processes need it."""
        _ = self.encoded  # built on first use

    def groups(self, split: str) -> list[str] | None:
        """Return the group of every row of a split, or None if the corpus has no groups."""
        self.split(split)
        rows = self.corpus.splits[split]
        return rows["group"][:] if "group" in rows.column_names else None

    def texts(self, split: str) -> list[str]:
        """Return the clean text of every row of a split."""
        self.split(split)
        return self.corpus.splits[split]["text"][:]

    def split(self, name: str) -> EncodedSplit:
        """Return a split as token ids.

        Raises:
            DataError: the test split in stage ``tune``, which must not see it.
        """
        if name == "test" and self.config.stage == "tune":
            raise DataError("data.stage is 'tune', which never reads the test split; set data.stage to 'final'")
        return self.encoded.splits[name]

    def encode_texts(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of new texts, cleaned and tokenised as the corpus was."""
        cleaned = [clean_text(text) for text in texts] if self.config.clean else list(texts)
        return self.encoded.tokenizer.encode(cleaned)

    def share(self) -> Share:
        """Return the part of every batch that belongs to this process of the attached trainer."""
        trainer = self.trainer
        return ALONE if trainer is None else Share(trainer.global_rank, trainer.world_size)

    def loader(self, batches: Dataset[Any], order: Sampler[Any]) -> DataLoader[Any]:
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
