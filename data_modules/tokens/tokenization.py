"""Tokenizers, learned on the training rows or pretrained.

Learned ones cut words, with punctuation or apart from it, characters, word pieces or byte pairs.

A learned tokenizer puts ``<cls>`` before every text, so that first-token pooling has a token of its own and an empty
text still has one; the token costs one position. For language models it also has ``<eos>``, the end of a document, and
``<mask>``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from data_modules.cache import cache_root
from data_modules.config import TRAINED_TOKENIZERS, DataConfig
from data_modules.errors import DataError, nearest
from data_modules.sources.carried import PRETRAINED_FILE, carried_facts
from data_modules.sources.online import is_reachable

PADDING, UNKNOWN, CLASS, END, MASK = "<pad>", "<unk>", "<cls>", "<eos>", "<mask>"
SPECIAL_TOKENS = [PADDING, UNKNOWN, CLASS]
SPELLINGS = {
    PADDING: ("[PAD]", "<|endoftext|>"),
    UNKNOWN: ("[UNK]",),
    CLASS: ("[CLS]", "<s>"),
    END: ("</s>", "[SEP]", "<|endoftext|>"),
    MASK: ("[MASK]",),
}
"""How the tokenizers of others spell our special tokens, the likeliest first (BERT, RoBERTa, GPT-2)."""
KEPT_IDS = ("padding", "unknown", "end", "mask", "class")
"""Ids that accompany a tokenizer that is sent elsewhere."""
BYTES = 256
LARGEST_FILE = 200_000_000
"""Most bytes of a pretrained tokenizer's file; files of 250,000 tokens have about 20 million."""
LARGEST_GROWTH = 1_000.0
"""How many times longer a pretrained tokenizer's replacements may make a text."""


@dataclass(frozen=True)
class TextTokenizer:
    """A tokenizer and the ids that batching and reporting need."""

    backend: Tokenizer
    padding_id: int
    unknown_id: int | None
    end_id: int | None = None
    """Id that ends a document; None for a tokenizer of single texts."""
    mask_id: int | None = None
    """Id that hides a token; None if the tokenizer has no such token."""
    class_id: int | None = None
    """Id that opens a row; None if the tokenizer has no such token."""

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids, special tokens included."""
        return self.backend.get_vocab_size()

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Return the token ids of each text, truncated to the tokenizer's ``max_length``."""
        return [encoding.ids for encoding in self.backend.encode_batch_fast(texts)]

    def encode_documents(self, texts: list[str]) -> list[list[int]]:
        """Return the token ids of whole documents, untruncated, each with ``<eos>`` at its end.

        A text that spells a special token, such as ``<mask>``, is text like any other.

        Raises:
            DataError: the tokenizer has no token that ends a document.
        """
        if self.end_id is None:
            raise DataError("the tokenizer has no token that ends a document; choose another with data.tokenizer")
        backend = Tokenizer.from_str(self.backend.to_str())
        backend.no_truncation()
        backend.encode_special_tokens = True
        return [[*each.ids, self.end_id] for each in backend.encode_batch_fast(texts, add_special_tokens=False)]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids, without special tokens."""
        return self.backend.decode(list(ids), skip_special_tokens=True)

    @property
    def special_ids(self) -> list[int]:
        """Ids of the special tokens, in order."""
        return sorted(index for index, token in self.backend.get_added_tokens_decoder().items() if token.special)

    @cached_property
    def is_byte_complete(self) -> bool:
        """Whether every text can be spelt and read back: byte-level pieces with all bytes, upper case kept."""
        content = self.backend.to_str()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        known = self.backend.get_vocab()
        return '"ByteLevel"' in content and '"Lowercase"' not in content and all(symbol in known for symbol in alphabet)

    def byte_lengths(self) -> NDArray[np.int64]:
        """Return the number of UTF-8 bytes that each token id spells, ``(vocabulary,)``.

        ``<eos>`` counts as one byte, other special tokens as none.

        Raises:
            DataError: the tokenizer's pieces are not bytes.
        """
        if not self.is_byte_complete:
            raise DataError("bytes can be counted for byte-level tokenizers only")
        lengths = np.zeros(self.vocabulary_size, dtype=np.int64)
        for piece, index in self.backend.get_vocab().items():
            lengths[index] = len(piece)  # a byte-level piece has a character for every byte
        lengths[self.special_ids] = 0
        lengths[self.end_id] = 1
        return lengths

    def save(self, path: Path) -> None:
        """Write the tokenizer, its truncation included, as one JSON file."""
        self.backend.save(str(path))


def _word(config: DataConfig, special: list[Any]) -> tuple[Tokenizer, trainers.Trainer]:
    """Words between white space, punctuation marks apart; the most frequent ones are the vocabulary."""
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    return tokenizer, trainers.WordLevelTrainer(
        vocab_size=config.vocabulary_size, special_tokens=special, show_progress=False
    )


def _whitespace(config: DataConfig, special: list[Any]) -> tuple[Tokenizer, trainers.Trainer]:
    """Pieces between white space, punctuation marks included; the most frequent ones are the vocabulary."""
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer, trainers.WordLevelTrainer(
        vocab_size=config.vocabulary_size, special_tokens=special, show_progress=False
    )


def _char(config: DataConfig, special: list[Any]) -> tuple[Tokenizer, trainers.Trainer]:
    """Single characters, spaces included."""
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer, trainers.WordLevelTrainer(
        vocab_size=config.vocabulary_size, special_tokens=special, show_progress=False
    )


def _wordpiece(config: DataConfig, special: list[Any]) -> tuple[Tokenizer, trainers.Trainer]:
    """Word pieces after Schuster & Nakajima 2012, as BERT cuts them (arXiv:1810.04805)."""
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer, trainers.WordPieceTrainer(
        vocab_size=config.vocabulary_size, special_tokens=special, show_progress=False
    )


def _bpe(config: DataConfig, special: list[Any]) -> tuple[Tokenizer, trainers.Trainer]:
    """Byte-level byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909): nothing is unknown to it."""
    if config.vocabulary_size < BYTES + len(special):
        raise DataError(
            f"data.vocabulary_size is {config.vocabulary_size}; bpe needs at least {BYTES + len(special)} "
            "(every byte and the special tokens)"
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer, trainers.BpeTrainer(
        vocab_size=config.vocabulary_size,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )


RECIPES = {"word": _word, "whitespace": _whitespace, "char": _char, "wordpiece": _wordpiece, "bpe": _bpe}


def is_learned(config: DataConfig) -> bool:
    """Say whether ``data.tokenizer`` is learned on the training rows."""
    return config.tokenizer in TRAINED_TOKENIZERS


def learn(config: DataConfig, texts: Iterable[str], *, documents: bool = False) -> TextTokenizer:
    """Learn a tokenizer of at most ``data.vocabulary_size`` tokens from the training texts.

    With ``documents`` it has the special tokens of language models.
    """
    # The space before `<mask>` belongs to the hidden word, whose piece begins with it.
    special: list[Any] = (
        [*SPECIAL_TOKENS, END, AddedToken(MASK, lstrip=True, special=True)] if documents else SPECIAL_TOKENS
    )
    if config.vocabulary_size <= len(special):
        raise DataError(
            f"data.vocabulary_size is {config.vocabulary_size}; it must exceed the {len(special)} special tokens"
        )
    tokenizer, trainer = RECIPES[config.tokenizer](config, special)
    steps: list[normalizers.Normalizer] = [normalizers.NFC()]
    if config.lowercase:
        steps.append(normalizers.Lowercase())
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{CLASS} $A", special_tokens=[(CLASS, tokenizer.token_to_id(CLASS))]
    )
    return _finish(tokenizer, config.max_length)


def _finish(tokenizer: Tokenizer, max_length: int) -> TextTokenizer:
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    padding_id = special_id(tokenizer, PADDING)
    assert padding_id is not None  # the trainers put the special tokens first
    names = (UNKNOWN, END, MASK, CLASS)
    unknown_id, end_id, mask_id, class_id = (special_id(tokenizer, name) for name in names)
    return TextTokenizer(tokenizer, padding_id, unknown_id, end_id, mask_id, class_id)


def special_id(tokenizer: Tokenizer, name: str) -> int | None:
    """Return the id of one of our special tokens, however the tokenizer spells it; None if it has none."""
    found = (tokenizer.token_to_id(spelling) for spelling in (name, *SPELLINGS[name]))
    return next((index for index in found if index is not None), None)


def load_learned(path: Path, max_length: int) -> TextTokenizer:
    """Read a learned tokenizer that :meth:`TextTokenizer.save` wrote."""
    return _finish(Tokenizer.from_file(str(path)), max_length)


def _refuse_unbounded(folder: Path) -> None:
    """Refuse a tokenizer's file that is too large, or whose replacements can make a text grow without bound.

    Raises:
        DataError: it is not to be loaded.
    """
    path = folder / "tokenizer.json" if folder.is_dir() else folder
    if not path.is_file():
        return
    if path.stat().st_size > LARGEST_FILE:
        raise DataError(f"{path.name} (data.tokenizer) is larger than {LARGEST_FILE:,} bytes; is it a tokenizer?")
    try:
        steps: list[Any] = [json.loads(path.read_text(encoding="utf-8")).get("normalizer")]
    except (ValueError, AttributeError, RecursionError):
        raise DataError(f"{path.name} (data.tokenizer) is no tokenizer's file") from None
    growth = 1.0
    while steps:
        step = steps.pop()
        if not isinstance(step, dict):
            continue
        steps += step.get("normalizers") or []
        replaced = step.get("pattern")
        if isinstance(replaced, dict):
            pattern = str(replaced.get("String") or "")  # a regular expression may match a single character
            growth *= max(1.0, len(str(step.get("content") or "")) / max(1, len(pattern)))
    if growth > LARGEST_GROWTH:
        raise DataError(f"{path.name} (data.tokenizer) replaces characters so that a text may grow {growth:.0f}-fold")


def _own_file(path: Path, max_length: int) -> TextTokenizer:
    """Read the file of a tokenizer that a run left: one that was learned here, or that of a pretrained network.

    Raises:
        DataError: it is damaged, or is another kind of tokenizer's.
    """
    try:
        backend = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises plain exceptions
        raise DataError(f"{path.name} (data.tokenizer) is no tokenizer's file: {error}") from None
    if special_id(backend, PADDING) is None:
        raise DataError(f"{path.name} (data.tokenizer) has no token {PADDING}; pass the folder of a saved tokenizer")
    return _finish(backend, max_length)


def load_pretrained(config: DataConfig) -> TextTokenizer:
    """Load a pretrained fast tokenizer by name or path through ``transformers``; no code of others is run.

    A tokenizer without a padding token gets its end-of-text token (padding is masked, so any token would do).

    Raises:
        DataError: it is unknown, cannot be reached, or has no fast version.
    """
    carried = carried_facts(config)
    if carried is not None:
        sent = Tokenizer.from_file(str(cache_root(config.cache_dir) / PRETRAINED_FILE))
        ids: dict[str, Any] = {f"{name}_id": carried.get(f"{name}_id") for name in KEPT_IDS}
        return TextTokenizer(sent, **ids)
    name = config.tokenizer
    is_path = Path(name).expanduser().exists()
    if is_path:
        _refuse_unbounded(Path(name).expanduser())
    if name.endswith(".json") and Path(name).expanduser().is_file():
        return _own_file(Path(name).expanduser(), config.max_length)
    hint = nearest(name, TRAINED_TOKENIZERS)
    if not is_path and "did you mean" in hint:
        raise DataError(f"data.tokenizer is {name!r}, which is not known{hint}")
    from transformers import AutoTokenizer

    try:
        pretrained = AutoTokenizer.from_pretrained(
            str(Path(name).expanduser()) if is_path else name,
            use_fast=True,
            trust_remote_code=False,
            local_files_only=is_path or not is_reachable(),
        )
        backend = pretrained.backend_tokenizer
    except (OSError, ValueError, AttributeError, ImportError, KeyError) as error:
        raise DataError(
            f"the pretrained tokenizer {name!r} cannot be loaded ({type(error).__name__}); pass the folder of a saved "
            f"fast tokenizer, fetch it once where there is network (`hf download {name}`), "
            f"or choose one of: {', '.join(TRAINED_TOKENIZERS)}"
        ) from error
    padding = next((i for i in (pretrained.pad_token_id, pretrained.eos_token_id) if i is not None), 0)
    backend.no_padding()
    backend.enable_truncation(config.max_length)
    end_id = next((i for i in (pretrained.eos_token_id, pretrained.sep_token_id) if i is not None), None)
    return TextTokenizer(
        backend, int(padding), pretrained.unk_token_id, end_id, pretrained.mask_token_id, pretrained.cls_token_id
    )
