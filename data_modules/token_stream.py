"""The LightningDataModules for language models: windows of fixed length on streams of documents."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from data_modules.batches.augmentation import EpochOrder
from data_modules.batches.batching import BatchOrder, EvaluationOrder
from data_modules.batches.masking import MaskedWindows, MaskSettings
from data_modules.batches.sharing import ALONE, Share
from data_modules.batches.windows import IGNORED, Windows, WindowSettings
from data_modules.errors import DataError
from data_modules.mapped import mapped_permutation
from data_modules.text_base import TextBase
from data_modules.tokens.encoding import EncodedCorpus, encode
from data_modules.tokens.tokenization import TextTokenizer

TRAIN_SAMPLE_TOKENS = 65_536


@dataclass(frozen=True, kw_only=True)
class StreamFacts:
    """What a language model and its schedule must know about the data."""

    vocabulary_size: int
    padding_id: int
    end_id: int
    mask_id: int | None
    class_id: int | None
    special_ids: tuple[int, ...]
    unknown_id: int | None
    """Id of unknown words; None for a tokenizer to which nothing is unknown."""
    byte_complete: bool
    """Whether the tokens spell every text, so that bits per byte mean something."""
    next_sentence: bool
    """Whether windows are pairs of spans."""
    max_length: int
    """Tokens of a window."""
    train_rows: int
    """Training windows."""
    steps_per_epoch: int
    """Training batches in an epoch."""
    train_tokens: int
    """Tokens of the training stream, documents' ends included."""
    class_names: tuple[str, ...] = ()
    """Always empty: text has no classes here."""
    class_counts: tuple[int, ...] = ()
    """Always empty."""
    unigram_losses: dict[str, float]
    """Mean loss in nats of predicting ``validation`` by the shares of the training tokens."""


class TokenStream(TextBase):
    """Documents as one stream of tokens, cut into windows in which every token is predicted from those before it.

    The order of the windows depends on ``data.seed`` and the epoch alone. Token ids are mapped from files, so the text
    may be larger than memory.
    """

    @cached_property
    def encoded(self) -> EncodedCorpus:
        """The splits as whole documents of token ids, and their tokenizer.

        Raises:
            DataError: the training text is shorter than one window.
        """
        if not len(self.corpus.splits["train"]):
            raise DataError(f"the corpus {self.corpus.slug} has no training rows; it is there to evaluate on")
        encoded = encode(self.corpus, self.config, documents=True)
        tokens = len(encoded.splits["train"].tokens)
        if tokens < self.config.max_length:
            raise DataError(
                f"the training text has {tokens} tokens, fewer than one window of data.max_length "
                f"{self.config.max_length}; give more text or lower it"
            )
        return encoded

    @property
    def tokenizer(self) -> TextTokenizer:
        """The tokenizer of the stream."""
        return self.encoded.tokenizer

    @property
    def window_settings(self) -> WindowSettings:
        """How windows are cut."""
        tokenizer = self.tokenizer
        assert tokenizer.end_id is not None, "encoding documents refuses a tokenizer without it"
        return WindowSettings(
            length=self.config.max_length,
            padding_id=tokenizer.padding_id,
            end_id=tokenizer.end_id,
            byte_lengths=tokenizer.byte_lengths() if tokenizer.is_byte_complete else None,
            documents_apart=self.config.documents_apart,
        )

    def windows(self, split: str, *, training: bool = False) -> Windows:
        """Return the windows of a split; what is drawn for training differs from epoch to epoch.

        Raises:
            DataError: the test split in stage ``tune``, which must not see it.
        """
        return Windows(self.split(split), self.window_settings)

    @cached_property
    def facts(self) -> StreamFacts:
        """Sizes that the model is built from."""
        tokenizer, windows = self.tokenizer, len(self.windows("train"))
        return StreamFacts(
            vocabulary_size=tokenizer.vocabulary_size,
            padding_id=tokenizer.padding_id,
            end_id=self.window_settings.end_id,
            mask_id=tokenizer.mask_id,
            class_id=tokenizer.class_id,
            special_ids=tuple(tokenizer.special_ids),
            unknown_id=None if tokenizer.is_byte_complete else tokenizer.unknown_id,
            byte_complete=tokenizer.is_byte_complete,
            next_sentence=self.pairs,
            max_length=self.config.max_length,
            train_rows=windows,
            steps_per_epoch=-(-windows // self.config.batch_size),
            train_tokens=len(self.encoded.splits["train"].tokens),
            unigram_losses={"validation": self.unigram_loss("validation")},
        )

    @property
    def pairs(self) -> bool:
        """Whether windows are pairs of spans."""
        return False

    @cached_property
    def unigram_shares(self) -> NDArray[np.float64]:
        """Share of every token id in the training stream, ``(vocabulary,)``, after one is added to each count."""
        counts = np.ones(self.tokenizer.vocabulary_size)
        tokens = self.encoded.splits["train"].tokens
        for start in range(0, len(tokens), 1 << 20):
            counts += np.bincount(tokens[start : start + (1 << 20)], minlength=len(counts))
        return counts / counts.sum()

    def unigram_loss(self, split: str) -> float:
        """Return the mean loss, in nats, of predicting the targets of a split by :attr:`unigram_shares`."""
        losses, total, count = -np.log(self.unigram_shares), 0.0, 0
        for batch in self.evaluation_loader(split):
            targets = batch["targets"].numpy()
            targets = targets[targets != IGNORED]
            total += float(losses[targets].sum())
            count += len(targets)
        return total / max(1, count)

    def row_count(self, split: str) -> int:
        """Return how many windows an evaluation of a split reads."""
        return len(self.windows(split))

    def sizes(self) -> dict[str, Any]:
        """Return tokens, bytes and the share of unknown tokens by split, without the test split while tuning."""
        names = [name for name in self.encoded.splits if name != "test" or self.config.stage == "final"]
        sizes: dict[str, Any] = {
            "tokens": {name: len(self.split(name).tokens) for name in names},
            "bytes": {name: self.bytes_of(name) for name in names},
        }
        unknown = self.facts.unknown_id
        if unknown is not None:
            shares = {name: float(np.mean(self.split(name).tokens == unknown)) for name in names}
            sizes["unknown_share"] = shares
        return sizes

    def bytes_of(self, split: str) -> int:
        """Return the UTF-8 bytes of a split's documents, with one for the end of each."""
        self.split(split)
        return int(np.load(self.encoded.folder / f"{split}.bytes.npy"))

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Return the training windows, in an order that depends on ``data.seed`` and the epoch alone."""
        if getattr(self.trainer, "overfit_batches", 0):
            raise DataError("trainer.overfit_batches is not supported; use data.max_train_rows for a few documents")
        windows = self.windows("train", training=True)
        order = self.training_order(np.broadcast_to(np.int64(1), len(windows)))
        return self.loader(windows, order)

    def training_order(self, lengths: NDArray[np.int64]) -> BatchOrder:
        """Return the order of training windows of these lengths."""
        return BatchOrder(lengths, self.config.batch_size, self.config.seed, length_grouped=False, share=self.share())

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Return the validation windows."""
        return self.evaluation_loader("validation", share=self.share())

    def test_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Return the test windows.

        Raises:
            DataError: in stage ``tune``, which must not see the test split.
        """
        return self.evaluation_loader("test", share=self.share())

    def train_sample_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Return a fixed sample of at most 65,536 training tokens, the same for every seed."""
        return self.evaluation_loader("train", self._sample()[: max(1, TRAIN_SAMPLE_TOKENS // self.config.max_length)])

    def train_sample(self, rows: int) -> dict[str, Tensor]:
        """Return the first ``rows`` windows of the fixed training sample as one batch."""
        (batch,) = self.evaluation_loader("train", self._sample()[:rows], size=rows)
        return batch

    def _sample(self) -> NDArray[np.int64]:
        return mapped_permutation(len(self.windows("train")), np.random.default_rng(self.config.split_seed))

    def evaluation_loader(
        self, split: str, rows: NDArray[np.int64] | None = None, share: Share = ALONE, size: int | None = None
    ) -> DataLoader[dict[str, Tensor]]:
        """Return windows of a split as evaluation batches; all by default."""
        windows = self.windows(split)
        lengths = np.broadcast_to(np.int64(1), len(windows))
        return self.loader(windows, EvaluationOrder(lengths, size or self.config.evaluation_batch_size, rows, share))


class FirstEpoch(EvaluationOrder):
    """Yields epoch 0 with the row indices of each evaluation batch: what is drawn there is always the same."""

    def __iter__(self) -> Any:
        return ((0, rows) for rows in super().__iter__())


class MaskedStream(TokenStream):
    """The same stream in windows of which some tokens are hidden; with ``data.next_sentence`` they are pairs of spans.

    In training, what is hidden depends on ``data.seed``, the epoch and the window; in evaluation on
    ``data.split_seed`` and the window alone.
    """

    @property
    def pairs(self) -> bool:
        """Whether windows are pairs of spans."""
        return self.config.next_sentence

    @cached_property
    def _masks(self) -> MaskSettings:
        tokenizer = self.tokenizer
        if tokenizer.mask_id is None:
            raise DataError("the tokenizer has no token that hides another; choose another with data.tokenizer")
        special = [*tokenizer.special_ids, tokenizer.padding_id]
        return MaskSettings(
            mask_id=tokenizer.mask_id,
            class_id=tokenizer.class_id,
            share=self.config.mask_share,
            ordinary=np.setdiff1d(np.arange(tokenizer.vocabulary_size), special),
            pairs=self.pairs,
        )

    def windows(self, split: str, *, training: bool = False) -> Windows:
        """Return the windows of a split; each epoch hides other tokens of the training windows."""
        config = self.config
        seeds = (lambda epoch: (config.seed, epoch)) if training else (lambda epoch: (config.split_seed,))
        return MaskedWindows(self.split(split), self.window_settings, self._masks, seeds)

    def training_order(self, lengths: NDArray[np.int64]) -> BatchOrder:
        """Return the order of training windows, which tells the epoch too."""
        return EpochOrder(lengths, self.config.batch_size, self.config.seed, length_grouped=False, share=self.share())

    def evaluation_loader(
        self, split: str, rows: NDArray[np.int64] | None = None, share: Share = ALONE, size: int | None = None
    ) -> DataLoader[dict[str, Tensor]]:
        """Return windows of a split as evaluation batches; all by default."""
        windows = self.windows(split)
        lengths = np.broadcast_to(np.int64(1), len(windows))
        return self.loader(windows, FirstEpoch(lengths, size or self.config.evaluation_batch_size, rows, share))
