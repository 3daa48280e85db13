"""A text that is carried to a machine without its source is the same text, and is refused where it is not."""

import io
import tarfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from data_modules.cleaning.prepared import prepare
from data_modules.config import DataConfig
from data_modules.errors import DataError
from data_modules.labelled_text import TextDataModule
from data_modules.portable import carried_folder, pack_text, unpack_text
from data_modules.token_stream import TokenStream
from data_modules.tokens.encoding import encode
from data_modules.tokens.tokenization import learn

ROWS = [f"{'red' if number % 2 else 'blue'} things come in number {number}" for number in range(60)]


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    """Return a configuration that names files of this machine: rows and, in the end, a tokenizer."""
    from transformers import PreTrainedTokenizerFast

    file, tokenizer = tmp_path / "rows.csv", tmp_path / "tokenizer"
    file.write_text("text,label\n" + "".join(f"{row},{number % 2}\n" for number, row in enumerate(ROWS)))
    own = learn(DataConfig(tokenizer="wordpiece", vocabulary_size=200), ROWS)
    PreTrainedTokenizerFast(tokenizer_object=own.backend, pad_token="<pad>", unk_token="<unk>").save_pretrained(
        tokenizer
    )
    settings = {"near_duplicate_threshold": None, "max_length": 8, "cache_dir": str(tmp_path / "here")}
    return DataConfig(corpus="csv", train_file=str(file), tokenizer=str(tokenizer), **settings)


@pytest.mark.parametrize("tokenizer", ["word", None], ids=["learned", "pretrained"])
def test_a_carried_text_needs_neither_its_file_nor_its_tokenizer(
    config: DataConfig, tokenizer: str | None, tmp_path: Path
) -> None:
    config = replace(config, tokenizer=tokenizer or config.tokenizer)
    here, packed = prepare(config), pack_text(config)
    tokens = encode(here, config)
    unpack_text(packed.digest, packed.archive, tmp_path / "there")
    Path(str(config.train_file)).unlink()
    for path in (tmp_path / "tokenizer").iterdir():
        path.unlink()
    there = replace(config, cache_dir=str(carried_folder(packed.digest, tmp_path / "there")))
    corpus = prepare(there)
    assert (corpus.slug, corpus.source, corpus.class_names) == (here.slug, here.source, here.class_names)
    assert (corpus.fingerprint, corpus.split_hash) == (here.fingerprint, here.split_hash)
    assert corpus.fingerprint == packed.fingerprint
    for name, split in encode(corpus, there).splits.items():
        assert np.array_equal(split.tokens, tokens.splits[name].tokens)
        assert corpus.splits[name]["text"][:] == here.splits[name]["text"][:]
    assert TextDataModule(**vars(there)).facts.vocabulary_size == tokens.tokenizer.vocabulary_size


def test_a_carried_stream_of_documents_is_the_same_stream(config: DataConfig, tmp_path: Path) -> None:
    config = replace(config, tokenizer="bpe", vocabulary_size=300, label_column=None)
    packed, here = pack_text(config, documents=True), TokenStream.from_config(config)
    unpack_text(packed.digest, packed.archive, tmp_path / "there")
    folder = carried_folder(packed.digest, tmp_path / "there")
    there = TokenStream.from_config(replace(config, cache_dir=str(folder)))
    assert there.facts == here.facts and there.sizes() == here.sizes()
    assert np.array_equal(there.split("train").tokens, here.split("train").tokens)
    assert {path.parent.name for path in folder.rglob("tokenizer.json")} == {here.encoded.folder.name}


def test_the_same_text_is_packed_to_the_same_bytes(config: DataConfig) -> None:
    assert pack_text(config) == pack_text(replace(config, seed=7, stage="final", batch_size=3))


def test_a_carried_text_is_not_read_again_with_other_settings(config: DataConfig, tmp_path: Path) -> None:
    packed = pack_text(config)
    unpack_text(packed.digest, packed.archive, tmp_path / "there")
    folder = carried_folder(packed.digest, tmp_path / "there")
    with pytest.raises(DataError, match="not with these settings"):
        prepare(replace(config, cache_dir=str(folder), split_seed=5))


def test_a_damaged_text_is_refused(config: DataConfig, tmp_path: Path) -> None:
    packed = pack_text(config)
    with pytest.raises(DataError, match="digest"):
        unpack_text(packed.digest, packed.archive + b"more", tmp_path / "there")
    assert not carried_folder(packed.digest, tmp_path / "there").exists()


def test_nothing_is_unpacked_outside_the_folder(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo("../../outside.txt")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"evil"))
    archive = buffer.getvalue()
    with pytest.raises(DataError, match="refused"):
        unpack_text(sha256(archive).hexdigest(), archive, tmp_path / "there")
    assert not list(tmp_path.rglob("outside.txt"))
