from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, normalizers
from transformers import PreTrainedTokenizerFast

from data_modules.config import DataConfig
from data_modules.errors import DataError
from data_modules.tokens.tokenization import learn, load_learned, load_pretrained

TEXTS = ["The cat sat on the mat.", "The dog sat, too.", "残差连接与层归一化", "the end"]


def tokens(tokenizer, text: str) -> list[str]:
    return [tokenizer.backend.id_to_token(index) for index in tokenizer.encode([text])[0]]


def test_the_word_vocabulary_is_the_most_frequent_words() -> None:
    tokenizer = learn(DataConfig(vocabulary_size=6), TEXTS)
    assert tokens(tokenizer, "The cat sat quietly.") == ["<cls>", "the", "<unk>", "sat", "<unk>", "."]
    counts = Counter(" ".join(TEXTS).lower().replace(".", " .").replace(",", " ,").split())
    assert {word for word in tokenizer.backend.get_vocab() if word[0] != "<"} == {
        word for word, _ in counts.most_common(3)
    }


def test_white_space_alone_parts_the_words_of_a_whitespace_vocabulary() -> None:
    texts = ["The cat sat.", "The  cat\tsat.", "the cat, the (dog)"]
    tokenizer = learn(DataConfig(tokenizer="whitespace", vocabulary_size=5, lowercase=False), texts)
    counts = Counter(" ".join(texts).split())
    assert counts["cat"] == 2 and counts["sat."] == 2 and counts["The"] == 2 and counts["the"] == 2
    assert len(set(tokenizer.backend.get_vocab()) - {"<pad>", "<unk>", "<cls>"}) == 2
    whole = learn(DataConfig(tokenizer="whitespace", vocabulary_size=100, lowercase=False), texts)
    assert set(whole.backend.get_vocab()) == {"<pad>", "<unk>", "<cls>", *counts}
    assert tokens(whole, "The cat, sat (dog)") == ["<cls>", "The", "cat,", "<unk>", "(dog)"]
    lowered = learn(DataConfig(tokenizer="whitespace", vocabulary_size=100), texts)
    assert tokens(lowered, "THE cat sat.") == ["<cls>", "the", "cat", "sat."]


def test_characters_are_tokens_of_chinese() -> None:
    tokenizer = learn(DataConfig(tokenizer="char", vocabulary_size=100), TEXTS)
    assert tokens(tokenizer, "层归一") == ["<cls>", "层", "归", "一"]


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=40))
def test_nothing_is_unknown_to_bpe(text: str) -> None:
    tokenizer = learn(DataConfig(tokenizer="bpe", vocabulary_size=300), TEXTS)
    assert "<unk>" not in tokens(tokenizer, text.replace("<unk>", ""))


@pytest.mark.parametrize("name", ["word", "whitespace", "char", "wordpiece", "bpe"])
def test_a_saved_tokenizer_encodes_and_truncates_alike(name: str, tmp_path: Path) -> None:
    tokenizer = learn(DataConfig(tokenizer=name, vocabulary_size=400, max_length=5), TEXTS)
    tokenizer.save(tmp_path / "t.json")
    again = load_learned(tmp_path / "t.json", 5)
    assert again.encode(TEXTS) == tokenizer.encode(TEXTS)
    assert max(map(len, tokenizer.encode(TEXTS))) == 5
    assert tokenizer.encode([""])[0] == [tokenizer.backend.token_to_id("<cls>")]


def test_a_pretrained_tokenizer_is_read_from_its_folder(tmp_path: Path) -> None:
    own = learn(DataConfig(tokenizer="wordpiece", vocabulary_size=200), TEXTS)
    PreTrainedTokenizerFast(tokenizer_object=own.backend, pad_token="<pad>", unk_token="<unk>").save_pretrained(
        tmp_path
    )
    loaded = load_pretrained(DataConfig(tokenizer=str(tmp_path)))
    assert loaded.encode(TEXTS) == own.encode(TEXTS)
    assert loaded.padding_id == own.padding_id


def saved(folder: Path, steps: list[normalizers.Normalizer]) -> DataConfig:
    """Return a configuration that names a saved tokenizer with these normalizers."""
    own = learn(DataConfig(vocabulary_size=50), TEXTS).backend
    own.normalizer = normalizers.Sequence(steps)
    PreTrainedTokenizerFast(tokenizer_object=own, pad_token="<pad>", unk_token="<unk>").save_pretrained(folder)
    return DataConfig(tokenizer=str(folder))


def test_a_pretrained_tokenizer_may_replace_but_not_blow_a_text_up(tmp_path: Path) -> None:
    harmless = [normalizers.Replace("``", '"'), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Prepend("▁")]
    assert load_pretrained(saved(tmp_path / "a", harmless)).encode(["the cat"])
    with pytest.raises(DataError, match=r"tokenizer\.json .*a text may grow 10000000000-fold"):
        load_pretrained(saved(tmp_path / "b", 10 * [normalizers.Replace("a", 10 * "a")]))


@pytest.mark.parametrize("content", ["{", "[1]", "[" * 100_000], ids=["broken", "a list", "brackets"])
def test_what_is_no_tokenizers_file_is_one_sentence(content: str, tmp_path: Path) -> None:
    config = saved(tmp_path, [normalizers.NFC()])
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(DataError, match=r"tokenizer\.json \(data\.tokenizer\) is no tokenizer's file"):
        load_pretrained(config)


def test_unknown_tokenizers_name_the_nearest_or_the_way_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DataError, match="did you mean 'word'"):
        load_pretrained(DataConfig(tokenizer="wrod"))
    with pytest.raises(DataError, match="hf download nobody/nothing"):
        load_pretrained(DataConfig(tokenizer="nobody/nothing"))


@pytest.mark.parametrize(("name", "size"), [("word", 3), ("bpe", 100)])
def test_a_vocabulary_that_is_too_small_is_an_error(name: str, size: int) -> None:
    with pytest.raises(DataError, match="vocabulary_size"):
        learn(DataConfig(tokenizer=name, vocabulary_size=size), TEXTS)
