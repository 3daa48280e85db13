"""What can be configured about the text: one dataclass, free of torch, so that planning a grid stays instant.

The attribute docstrings are the help text of ``python -m experiments.train fit --help``.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Literal

from data_modules.errors import DataError, check_numbers, nearest, reject_unknown

EMBEDDED_CORPORA = ("docstrings", "listops", "prose")
FILE_FORMATS = ("csv", "tsv", "jsonl", "parquet")
PLAIN_TEXT = "text"
"""``data.corpus`` of running text in files without columns."""
COMPRESSIONS = (".gz", ".bz2", ".xz", ".zip")
UNREAD_COMPRESSIONS = (".zst", ".zstd", ".lz4", ".sz", ".lz", ".z", ".7z", ".rar", ".br")
"""Endings of compressed files that are refused by the name of their compression."""
ENCODINGS = ("utf-8", "utf-16", "latin-1", "cp1252", "gb18030", "big5", "shift_jis", "euc_kr", "koi8_r", "cp1251")
"""Encodings that a message proposes; Python knows more."""
TRAINED_TOKENIZERS = ("word", "whitespace", "char", "wordpiece", "bpe")
MOST = {
    "num_workers": 1_000,
    "max_length": 1_000_000,
    "batch_size": 10_000_000,
    "evaluation_batch_size": 10_000_000,
    "vocabulary_size": 100_000_000,
    "split_seed": 2**32 - 1,
    "seed": 2**32 - 1,
}
"""The largest values of fields: larger ones cost too much memory or time, or a library refuses them."""
MOST_OF_LISTOPS = {
    "train_rows": 10_000_000,
    "evaluation_rows": 1_000_000,
    "levels": 20,
    "minimum_arguments": 100,
    "maximum_arguments": 100,
}
LONGEST_EXPRESSION = 100_000
"""Number of words of the longest expression that listops may draw."""
TEXT_SETTINGS = (
    "corpus", "train_file", "validation_file", "test_file", "text_column", "label_column", "group_column", "columns",
    "encoding", "configuration", "revision", "docstrings", "listops", "prose", "more_text",
)  # fmt: skip
"""Fields that decide which text is read."""
SPLIT_SETTINGS = (
    "validation_fraction", "test_fraction", "split_seed", "clean", "deduplicate", "near_duplicate_threshold",
    "minimum_class_rows", "contiguous",
)  # fmt: skip
"""Fields that decide, with the text itself, which rows the splits hold."""


@dataclass(kw_only=True)
class DocstringsOptions:
    """How the embedded corpus ``docstrings`` is built."""

    split_by: Literal["file", "directory"] = "file"
    """Unit that is kept within one split; ``directory`` is the harder test."""

    mask_identifiers: bool = False
    """Also mask give-away identifiers such as ``ndarray`` or ``DataFrame``."""


@dataclass(kw_only=True)
class ListOpsOptions:
    """How the generated corpus ``listops`` is built (after Nangia & Bowman 2018, arXiv:1804.06028)."""

    train_rows: int = 100_000
    """Expressions generated for training."""

    evaluation_rows: int = 2_000
    """Expressions generated for each of validation and test."""

    levels: int = 2
    """Greatest nesting depth of operators."""

    minimum_arguments: int = 2
    """Fewest arguments of an operator."""

    maximum_arguments: int = 3
    """Most arguments of an operator."""

    operators: tuple[str, ...] = ("MAX", "MIN")
    """Operators to draw from: MAX, MIN, MED, SM (sum modulo ten)."""


@dataclass(kw_only=True)
class ProseOptions:
    """How the embedded corpus ``prose`` is built."""

    mask_names: bool = False
    """Mask the names of the five packages of ``docstrings``, as that corpus does."""

    mask_identifiers: bool = False
    """Also mask give-away identifiers such as ``ndarray`` or ``DataFrame``."""

    withhold_docstrings: bool = True
    """Leave out the files of the validation and test rows of ``docstrings``, and all that nearly repeats such a row. A
    network may then be pretrained for that corpus."""


@dataclass(kw_only=True)
class DataConfig:
    """Where the text comes from, how it is cleaned, split, tokenised and batched.

    Raises:
        DataError: at construction, naming the field, the reason and the nearest valid choice.
    """

    corpus: str = "docstrings"
    """``docstrings``, ``listops`` or ``prose`` (embedded); ``csv``, ``tsv``, ``jsonl``, ``parquet`` or ``text`` (with
    ``train_file``); a local dataset folder; a known short name such as ``ag_news``; or a Hub id such as
    ``fancyzhx/ag_news``."""

    stage: Literal["tune", "final"] = "tune"
    """``tune`` never reads the test split; ``final`` scores it once, at the end."""

    train_file: str | None = None
    """File of training rows (corpus ``csv``, ``tsv``, ``jsonl`` or ``parquet``) or of running text (corpus ``text``).
    For running text, a pattern such as ``books/*.txt`` may name several files."""

    validation_file: str | None = None
    """File of validation rows; without it they are cut from the training rows."""

    test_file: str | None = None
    """File of test rows; without it they are cut from the training rows."""

    text_column: str = "text"
    """Column that holds the text."""

    label_column: str | None = "label"
    """Column that holds the class; null reads text without labels, for tasks that need none."""

    group_column: str | None = None
    """Column of a group (document, author, ...) whose rows must share a split."""

    columns: tuple[str, ...] | None = field(default=None, metadata={"since": 2})
    """Names of the columns of csv or tsv files that have no header row."""

    encoding: str = field(default="utf-8", metadata={"since": 2})
    """Encoding of csv, tsv, jsonl and text files, such as ``latin-1`` or ``gb18030``."""

    configuration: str | None = field(default=None, metadata={"since": 2})
    """Configuration of a data set that has several, such as ``sst2`` of the Hub's ``nyu-mll/glue``."""

    revision: str | None = None
    """Git revision of a Hub data set."""

    more_text: tuple[str, ...] = field(default=(), metadata={"since": 2})
    """Further corpora (names or folders) whose training texts are read too, without labels: for pretraining. Each is
    split as a classifier splits it by default, and none of its validation or test rows is read."""

    max_train_rows: int | None = None
    """Keep this many training rows (stratified, seeded by ``split_seed``); all by default."""

    validation_fraction: float = 0.1
    """Share cut from the training rows if the corpus has no validation split."""

    test_fraction: float = 0.1
    """Share cut from the training rows if the corpus has no test split."""

    contiguous: bool = field(default=False, metadata={"since": 2})
    """For running text: cut a missing split from the end of the training rows, in their order, and not at random. One
    or two files of the corpus ``text`` are always cut so."""

    split_seed: int = 0
    """Seed of cuts and subsets; independent of the model's seed."""

    clean: bool = True
    """Remove HTML tags, entities, control characters and superfluous white space, and drop empty rows."""

    deduplicate: bool = True
    """Drop duplicate rows, texts with contradictory labels, and train copies of validation or test rows."""

    near_duplicate_threshold: float | None = 0.7
    """Drop train rows whose 3-shingle Jaccard similarity to a validation or test row reaches this; null keeps them."""

    minimum_class_rows: int = field(default=1, metadata={"since": 2})
    """Drop classes that have fewer training rows than this once duplicates are gone; 1 keeps all."""

    shuffle_words: bool = False
    """Shuffle the words of every text (seeded): the control for whether word order matters."""

    augmentation: Literal["none", "delete_and_swap", "random_crop"] = field(default="none", metadata={"since": 1})
    """``delete_and_swap`` deletes a tenth of the tokens of every training row and swaps a tenth, anew each epoch.
    (These are random deletion and random swap of Wei & Zou 2019, arXiv:1901.11196.) ``random_crop`` keeps a stretch
    without gaps, between half of the row and all of it."""

    tokenizer: str = "word"
    """``word`` (punctuation marks apart), ``whitespace``, ``char``, ``wordpiece`` or ``bpe``, learned on the training
    rows, or a pretrained name or path."""

    vocabulary_size: int = 10_000
    """Most tokens of a learned vocabulary, special tokens included."""

    lowercase: bool = True
    """Lower-case the text before a learned tokenizer sees it."""

    max_length: int = 128
    """Tokens kept of a text; longer ones are truncated at the end."""

    documents_apart: bool = field(default=False, metadata={"since": 2})
    """Language models: let a token see its own document alone, though several share a window."""

    mask_share: float = field(default=0.15, metadata={"since": 2})
    """Masked language models: share of the tokens that are to be predicted (arXiv:1810.04805, section 3.1)."""

    next_sentence: bool = field(default=False, metadata={"since": 2})
    """Masked language models: also predict whether a window's second half follows its first in the text."""

    batch_size: int = 64
    """Rows in a training batch; several devices share them."""

    evaluation_batch_size: int = 256
    """Rows in a validation or test batch; several devices share them."""

    length_grouped: bool = True
    """Batch rows of similar length together, which saves padding; order depends on ``seed`` and epoch alone."""

    num_workers: int = 0
    """Loader processes; 0 loads in the training process, which is fastest for memory-mapped rows."""

    seed: int = 0
    """Seed of the batch order (``train`` links it to ``--seed_everything``)."""

    cache_dir: str | None = None
    """Where built corpora and encoded rows are kept (default: $RESNORM_CACHE, else ``.cache`` in the repository)."""

    docstrings: DocstringsOptions = field(default_factory=DocstringsOptions)
    """Options of the corpus ``docstrings``."""

    listops: ListOpsOptions = field(default_factory=ListOpsOptions)
    """Options of the corpus ``listops``."""

    prose: ProseOptions = field(default_factory=ProseOptions)
    """Options of the corpus ``prose``."""

    def __post_init__(self) -> None:
        check_numbers("data.", self, MOST)
        reject_unknown("data.stage", self.stage, ("tune", "final"))
        reject_unknown("data.augmentation", self.augmentation, ("none", "delete_and_swap", "random_crop"))
        reject_unknown("data.docstrings.split_by", self.docstrings.split_by, ("file", "directory"))
        for name in ("vocabulary_size", "max_length", "batch_size", "evaluation_batch_size", "minimum_class_rows"):
            if getattr(self, name) < 1:
                raise DataError(f"data.{name} is {getattr(self, name)}; it must be at least 1")
        if self.max_train_rows is not None and self.max_train_rows < 1:
            raise DataError(
                f"data.max_train_rows is {self.max_train_rows}; it must be at least 1, or null for all rows"
            )
        for name in ("validation_fraction", "test_fraction"):
            if not 0 < getattr(self, name) < 1:
                raise DataError(f"data.{name} is {getattr(self, name)}; it must lie between 0 and 1")
        for name in ("split_seed", "seed", "num_workers"):
            if getattr(self, name) < 0:
                raise DataError(f"data.{name} is {getattr(self, name)}; it cannot be negative")
        if self.near_duplicate_threshold is not None and not 0 < self.near_duplicate_threshold <= 1:
            raise DataError(
                f"data.near_duplicate_threshold is {self.near_duplicate_threshold}; it must be above 0 and at most 1, "
                "or null to keep near duplicates"
            )
        self.more_text = tuple(self.more_text)
        if self.corpus in self.more_text or len(set(self.more_text)) < len(self.more_text):
            raise DataError("data.more_text names a corpus twice, or data.corpus again")
        self._check_listops()
        self._check_reading()
        if not 0 < self.mask_share < 1:
            raise DataError(f"data.mask_share is {self.mask_share}; it must lie between 0 and 1")
        if self.corpus in (*FILE_FORMATS, PLAIN_TEXT) and self.train_file is None:
            raise DataError(f"data.corpus is {self.corpus!r}, which needs data.train_file (the file of training rows)")
        if self.corpus in EMBEDDED_CORPORA and self.train_file is not None:
            named, formats = file_format_of(self.train_file), (*FILE_FORMATS, PLAIN_TEXT)
            fitting = named if named in formats else f"one of {', '.join(formats)}"
            raise DataError(
                f"data.train_file is given, but the corpus {self.corpus!r} reads no file of yours; "
                f"add data.corpus, {fitting}"
            )

    def _check_listops(self) -> None:
        options = self.listops
        check_numbers("data.listops.", options, MOST_OF_LISTOPS)
        for name in MOST_OF_LISTOPS:
            if getattr(options, name) < 1:
                raise DataError(f"data.listops.{name} is {getattr(options, name)}; it must be at least 1")
        if options.maximum_arguments < options.minimum_arguments:
            raise DataError(
                f"data.listops.maximum_arguments is {options.maximum_arguments}, "
                f"less than data.listops.minimum_arguments, {options.minimum_arguments}"
            )
        longest = options.maximum_arguments**options.levels
        if longest > LONGEST_EXPRESSION:
            raise DataError(
                f"data.listops.levels {options.levels} of data.listops.maximum_arguments {options.maximum_arguments} "
                f"may give expressions of {longest:.0e} words; at most {LONGEST_EXPRESSION:,} are drawn"
            )

    def _check_reading(self) -> None:
        try:
            codecs.lookup(self.encoding)
        except LookupError:
            raise DataError(
                f"data.encoding is {self.encoding!r}, which is not known{nearest(self.encoding, ENCODINGS)}"
            ) from None
        if self.columns is None:
            return
        self.columns = tuple(self.columns)
        if self.corpus not in ("csv", "tsv"):
            raise DataError(
                "data.columns names the columns of csv and tsv files; other formats have names of their own"
            )
        if len(set(self.columns)) < len(self.columns):
            raise DataError("data.columns has a name twice")

    @property
    def slug(self) -> str:
        """Short name of the corpus in folders and tables: the last part of a path or Hub id, or a file's name."""
        if self.corpus in (*FILE_FORMATS, PLAIN_TEXT) and self.train_file:
            path = PurePath(without_compression(self.train_file))
            return slug_of(path.parent.name if set("*?[") & set(path.stem) else path.stem)
        name = PurePath(self.corpus.rstrip("/")).name
        return slug_of(name if self.configuration is None else f"{name}_{self.configuration}")


def without_compression(name: str) -> str:
    """Return a file's name without an ending such as ``.gz``."""
    endings = (*COMPRESSIONS, *UNREAD_COMPRESSIONS)
    ending = next((ending for ending in endings if name.lower().endswith(ending)), "")
    return name[: len(name) - len(ending)]


def file_format_of(name: str) -> str:
    """Return what a file's name says of its format, such as ``csv`` for ``rows.csv.gz``; empty without an ending."""
    return PurePath(without_compression(name)).suffix.removeprefix(".").lower()


def slug_of(name: str) -> str:
    """Return a name that can be part of a path: it has letters and digits of any script, ``_``, ``.`` and ``-``."""
    return re.sub(r"[^\w.-]+", "_", name).strip("._") or "corpus"
