"""Tokenizers: learned on the training rows (words, with punctuation or apart from it, characters, WordPiece,
byte-pair) or pretrained.

A learned tokenizer puts ``<cls>`` before every text, so that first-token pooling has a token of its own and an empty
text still has one; the token costs one position.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from data_modules.cache import cache_root
from data_modules.config import TRAINED_TOKENIZERS, DataConfig
from data_modules.errors import DataError, nearest
from data_modules.sources.carried import PRETRAINED_FILE, carried_facts
from data_modules.sources.network import is_reachable

PADDING, UNKNOWN, CLASS = "<pad>", "<unk>", "<cls>"
SPECIAL_TOKENS = [PADDING, UNKNOWN, CLASS]
BYTES = 256
LARGEST_FILE = 200_000_000
"""Bytes of a pretrained tokenizer's file; those of 250,000 tokens have about 20 million."""
LARGEST_GROWTH = 1_000.0
"""How many times longer a pretrained tokenizer's replacements may make a text."""


@dataclass(frozen=True)
class TextTokenizer:
    """A tokenizer and the ids that batching and reporting need."""

    backend: Tokenizer
    padding_id: int
    unknown_id: int | None

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids, special tokens included."""
        return self.backend.get_vocab_size()

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Return the token ids of each text, truncated to the tokenizer's ``max_length``."""
        return [encoding.ids for encoding in self.backend.encode_batch_fast(texts)]

    def save(self, path: Path) -> None:
        """Write the tokenizer, its truncation included, as one JSON file."""
        self.backend.save(str(path))


def _word(config: DataConfig) -> tuple[Tokenizer, trainers.Trainer]:
    """Words between white space, punctuation marks apart; the most frequent ones are the vocabulary."""
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    return tokenizer, trainers.WordLevelTrainer(
        vocab_size=config.vocabulary_size, special_tokens=SPECIAL_TOKENS, show_progress=False
    )


def _whitespace(config: DataConfig) -> tuple[Tokenizer, trainers.Trainer]:
    """What stands between white space, punctuation marks included; the most frequent ones are the vocabulary."""
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer, trainers.WordLevelTrainer(
        vocab_size=config.vocabulary_size, special_tokens=SPECIAL_TOKENS, show_progress=False
    )


def _char(config: DataConfig) -> tuple[Tokenizer, trainers.Trainer]:
    """Single characters, spaces included."""
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    return tokenizer, trainers.WordLevelTrainer(
        vocab_size=config.vocabulary_size, special_tokens=SPECIAL_TOKENS, show_progress=False
    )


def _wordpiece(config: DataConfig) -> tuple[Tokenizer, trainers.Trainer]:
    """Word pieces after Schuster & Nakajima 2012, as BERT cuts them (arXiv:1810.04805)."""
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer, trainers.WordPieceTrainer(
        vocab_size=config.vocabulary_size, special_tokens=SPECIAL_TOKENS, show_progress=False
    )


def _bpe(config: DataConfig) -> tuple[Tokenizer, trainers.Trainer]:
    """Byte-level byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909): nothing is unknown to it."""
    if config.vocabulary_size < BYTES + len(SPECIAL_TOKENS):
        raise DataError(
            f"data.vocabulary_size is {config.vocabulary_size}; bpe needs at least {BYTES + len(SPECIAL_TOKENS)} "
            "(every byte and the special tokens)"
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer, trainers.BpeTrainer(
        vocab_size=config.vocabulary_size,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )


RECIPES = {"word": _word, "whitespace": _whitespace, "char": _char, "wordpiece": _wordpiece, "bpe": _bpe}


def is_learned(config: DataConfig) -> bool:
    """Say whether ``data.tokenizer`` is learned on the training rows."""
    return config.tokenizer in TRAINED_TOKENIZERS


def learn(config: DataConfig, texts: Iterable[str]) -> TextTokenizer:
    """Learn a tokenizer of at most ``data.vocabulary_size`` tokens from the training texts."""
    if config.vocabulary_size <= len(SPECIAL_TOKENS):
        raise DataError(
            f"data.vocabulary_size is {config.vocabulary_size}; it must exceed the {len(SPECIAL_TOKENS)} special tokens"
        )
    tokenizer, trainer = RECIPES[config.tokenizer](config)
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
    padding_id = tokenizer.token_to_id(PADDING)
    assert padding_id is not None  # the trainers put the special tokens first
    return TextTokenizer(tokenizer, padding_id, tokenizer.token_to_id(UNKNOWN))


def load_learned(path: Path, max_length: int) -> TextTokenizer:
    """Read a learned tokenizer that :meth:`TextTokenizer.save` wrote."""
    return _finish(Tokenizer.from_file(str(path)), max_length)


def _refuse_unbounded(folder: Path) -> None:
    """Refuse a tokenizer's file that is too large, or whose replacements can make a text grow without measure.

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


def load_pretrained(config: DataConfig) -> TextTokenizer:
    """Load a pretrained fast tokenizer by name or path through ``transformers``; no code of others is run.

    A tokenizer without a padding token gets its end-of-text token (padding is masked, so any token would do).

    Raises:
        DataError: it is unknown, cannot be reached, or has no fast version.
    """
    carried = carried_facts(config)
    if carried is not None:
        sent = Tokenizer.from_file(str(cache_root(config.cache_dir) / PRETRAINED_FILE))
        return TextTokenizer(sent, carried["padding_id"], carried["unknown_id"])
    name = config.tokenizer
    is_path = Path(name).expanduser().exists()
    if is_path:
        _refuse_unbounded(Path(name).expanduser())
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
    return TextTokenizer(backend, int(padding), pretrained.unk_token_id)
