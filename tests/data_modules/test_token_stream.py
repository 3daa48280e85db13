"""Streams of tokens for language models, against the text itself: nothing lost, nothing twice, nothing foreign."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch

from data_modules.batches.windows import IGNORED
from data_modules.cleaning.prepared import prepare
from data_modules.cleaning.refine import withhold
from data_modules.config import DataConfig, ProseOptions
from data_modules.errors import DataError
from data_modules.sources import prose
from data_modules.sources.source import RawCorpus
from data_modules.token_stream import MaskedStream, TokenStream

WORDS = ["the", "quiet", "river", "turns", "north", "heron", "waits", "under", "old", "willow", "trees", "past", "Łódź"]


def book(folder: Path, seed: int, paragraphs: int = 60, name: str = "book.txt") -> Path:
    draw = np.random.default_rng(seed)
    lines = [" ".join(draw.choice(WORDS, 12)).capitalize() + f" {seed}{number}." for number in range(paragraphs)]
    path = folder / name
    path.write_text("\n\n".join(lines), encoding="utf-8")
    return path


def settings(path: Path | str, **more: Any) -> dict[str, Any]:
    usual = {"vocabulary_size": 300, "max_length": 16, "batch_size": 4, "label_column": None, "tokenizer": "bpe"}
    return {"corpus": "text", "train_file": str(path), "lowercase": False, "stage": "final", **usual, **more}


def real_targets(batches: Any) -> list[int]:
    return [int(t) for batch in batches for row in batch["targets"] for t in row if t != IGNORED]


def test_every_token_of_a_split_is_predicted_once_and_in_order(tmp_path: Path) -> None:
    data = TokenStream(**settings(book(tmp_path, 0)))
    for split in ("validation", "test"):
        text = "".join(f"{row}\0" for row in data.texts(split))
        pieces, end = [], data.tokenizer.end_id
        document: list[int] = []
        for token in real_targets(data.evaluation_loader(split)):
            if token == end:
                pieces.append(data.tokenizer.decode(document) + "\0")
                document = []
            else:
                document.append(token)
        assert document == [] and "".join(pieces) == text


def test_the_input_is_the_token_before_each_target(tmp_path: Path) -> None:
    data = TokenStream(**settings(book(tmp_path, 0)))
    batches = list(data.val_dataloader())
    flat = np.concatenate([batch["input_ids"].numpy().ravel() for batch in batches])
    targets = np.concatenate([batch["targets"].numpy().ravel() for batch in batches])
    count = int((targets != IGNORED).sum())
    assert flat[0] == data.tokenizer.end_id
    assert (flat[1:count] == targets[: count - 1]).all()
    assert (flat[count:] == data.tokenizer.padding_id).all() and not batches[-1]["attention_mask"].ravel()[-1]


def test_a_split_knows_its_bytes_and_so_do_its_batches(tmp_path: Path) -> None:
    data = TokenStream(**settings(book(tmp_path, 0)))
    for split in ("train", "validation", "test"):
        expected = sum(len(text.encode()) + 1 for text in data.texts(split))
        assert data.bytes_of(split) == expected == data.sizes()["bytes"][split]
        assert sum(int(batch["bytes"].sum()) for batch in data.evaluation_loader(split)) == expected


@pytest.mark.parametrize("change", [{"tokenizer": "word"}, {"lowercase": True}], ids=["words", "lower case"])
def test_tokens_that_do_not_spell_the_text_have_no_bytes(tmp_path: Path, change: dict[str, Any]) -> None:
    data = TokenStream(**settings(book(tmp_path, 0), **change))
    assert not data.facts.byte_complete and "bytes" not in next(iter(data.val_dataloader()))


def test_the_order_depends_on_seed_and_epoch_alone(tmp_path: Path) -> None:
    path = book(tmp_path, 0)

    def rows(seed: int, epoch: int) -> list[int]:
        loader = TokenStream(**settings(path, seed=seed)).train_dataloader()
        cast(Any, loader.sampler).set_epoch(epoch)
        return [int(row) for batch in loader for row in batch["rows"]]

    assert rows(0, 1) == rows(0, 1) and sorted(rows(0, 1)) == list(range(len(rows(0, 1))))
    assert len({tuple(rows(*place)) for place in ((0, 0), (0, 1), (1, 0))}) == 3


def test_documents_kept_apart_are_numbered_by_what_is_predicted(tmp_path: Path) -> None:
    data = TokenStream(**settings(book(tmp_path, 0), documents_apart=True, evaluation_batch_size=2))
    batch = next(iter(data.val_dataloader()))
    assert batch["attention_mask"].all()
    segments, inputs = batch["segments"].ravel(), batch["input_ids"].ravel()
    changes = torch.where(segments[1:] != segments[:-1])[0] + 1
    assert len(changes) and (inputs[changes] == data.tokenizer.end_id).all()
    assert int((inputs == data.tokenizer.end_id).sum()) == len(changes) + 1


def test_one_file_is_cut_contiguously_and_many_by_file(tmp_path: Path) -> None:
    alone = TokenStream(**settings(book(tmp_path, 0), deduplicate=False, near_duplicate_threshold=None))
    together = [text for split in ("train", "validation", "test") for text in alone.texts(split)]
    assert "\n\n".join(together) == (tmp_path / "book.txt").read_text(encoding="utf-8")
    (tmp_path / "books").mkdir()
    for number in range(10):
        book(tmp_path / "books", number, paragraphs=10, name=f"{number}.txt")
    many = TokenStream(**settings(f"{tmp_path}/books/*.txt"))
    files = [set(many.groups(split) or ()) for split in ("train", "validation", "test")]
    assert many.corpus.slug == "books" and all(files)
    assert not files[0] & files[1] and not files[0] & files[2] and not files[1] & files[2]


def test_a_tokenizer_sees_train_text_only(tmp_path: Path) -> None:
    files = {name: book(tmp_path, seed, name=f"{name}.txt") for seed, name in enumerate(("train", "validation"))}
    other = tmp_path / "other.txt"
    other.write_text("\n\n".join(f"zyx wvu {number} qqq" for number in range(50)))
    first = TokenStream(**settings(files["train"], validation_file=str(files["validation"]), test_file=str(other)))
    second = TokenStream(**settings(files["train"], validation_file=str(other), test_file=str(files["validation"])))
    assert first.tokenizer.backend.to_str() == second.tokenizer.backend.to_str()
    assert (first.unigram_shares == second.unigram_shares).all()


def test_text_that_spells_a_special_token_is_text(tmp_path: Path) -> None:
    path = tmp_path / "odd.txt"
    path.write_text("\n\n".join(f"a <mask> and an <eos> and {number}" for number in range(40)))
    data = TokenStream(**settings(path, deduplicate=False, near_duplicate_threshold=None))
    tokens = data.split("train").tokens
    assert (tokens == data.tokenizer.end_id).sum() == len(data.texts("train"))
    assert not (tokens == data.tokenizer.mask_id).any()


def test_stage_tune_never_reads_the_test_split(tmp_path: Path) -> None:
    data = TokenStream(**settings(book(tmp_path, 0), stage="tune"))
    assert set(data.sizes()["tokens"]) == {"train", "validation"}
    with pytest.raises(DataError, match="never reads the test split"):
        data.test_dataloader()


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"", "is empty"), (b" \n\n ", "is empty"), ("caf\xe9".encode("latin-1"), "is not UTF-8 text")],
    ids=["empty", "white space", "latin-1"],
)
def test_unfit_files_are_refused_with_one_line(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "bad.txt").write_bytes(content)
    with pytest.raises(DataError, match=expected) as refused:
        TokenStream(**settings(tmp_path / "bad.txt")).prepare_data()
    assert "\n" not in str(refused.value)


def test_a_text_shorter_than_a_window_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"fewer than one window of data\.max_length 5000"):
        _ = TokenStream(**settings(book(tmp_path, 0), max_length=5000)).facts
    with pytest.raises(DataError, match=r"no file matches .*\*\.text"):
        _ = TokenStream(**settings(f"{tmp_path}/*.text")).corpus
    with pytest.raises(DataError, match="there is no file"):
        _ = TokenStream(**settings(tmp_path / "none.txt")).corpus


def masked(path: Path, **more: Any) -> MaskedStream:
    return MaskedStream(**settings(path, max_length=32, **more))


def test_hidden_tokens_follow_the_shares_of_bert(tmp_path: Path) -> None:
    data = masked(book(tmp_path, 0, paragraphs=2000), batch_size=64)
    batches = list(data.train_dataloader())
    inputs, targets, real = (
        torch.cat([batch[name].ravel() for batch in batches]) for name in ("input_ids", "targets", "attention_mask")
    )
    chosen = targets != IGNORED
    special = torch.tensor(data.tokenizer.special_ids)
    assert not torch.isin(targets[chosen], special).any() and not (chosen & ~real).any()
    ordinary = chosen | ~torch.isin(inputs, special)
    assert chosen.sum() / (ordinary & real).sum() == pytest.approx(0.15, abs=0.005)
    shown, wanted = inputs[chosen], targets[chosen]
    assert (shown == data.tokenizer.mask_id).float().mean() == pytest.approx(0.8, abs=0.02)
    assert (shown == wanted).float().mean() == pytest.approx(0.1, abs=0.02)
    assert (inputs.view(-1, 32)[:, 0] == data.tokenizer.class_id).all()


def test_masks_of_evaluation_are_fixed_and_those_of_training_change(tmp_path: Path) -> None:
    path = book(tmp_path, 0)

    def of(batches: Any) -> list[list[int]]:
        return sorted(
            [int(row), *batch["targets"][place]] for batch in batches for place, row in enumerate(batch["rows"])
        )

    evaluation = [of(masked(path, seed=seed).val_dataloader()) for seed in (0, 1)]
    assert evaluation[0] == evaluation[1]
    assert of(masked(path, split_seed=1).val_dataloader()) != evaluation[0]
    loader = masked(path).train_dataloader()
    first = of(loader)
    cast(Any, loader.sampler).set_epoch(1)
    second = of(loader)
    assert first != second and first == of(masked(path).train_dataloader())
    assert all(any(t != IGNORED for t in row[1:]) for row in first)


def test_the_second_span_of_a_pair_follows_in_half_of_the_windows(tmp_path: Path) -> None:
    data = masked(book(tmp_path, 0, paragraphs=800), next_sentence=True, mask_share=0.001)
    stream, end = data.split("train").tokens, data.tokenizer.end_id
    follows = []
    for batch in data.train_dataloader():
        for row, number in enumerate(batch["rows"].tolist()):
            tokens = torch.where(batch["targets"][row] != IGNORED, batch["targets"][row], batch["input_ids"][row])
            half = (32 - 3) // 2
            assert tokens[0] == data.tokenizer.class_id and tokens[1 + half] == end and tokens[-1] == end
            start = number * 29
            if start + 29 > len(stream):
                continue
            assert (tokens[1 : 1 + half].numpy() == stream[start : start + half]).all()
            is_next = bool((tokens[2 + half : -1].numpy() == stream[start + half : start + 29]).all())
            assert is_next == bool(batch["follows"][row])
            follows.append(is_next)
    assert np.mean(follows) == pytest.approx(0.5, abs=0.08)


def test_prose_is_paragraphs_of_fixed_packages_split_by_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prose, "DISTRIBUTIONS", {"torchmetrics": "torchmetrics", "lightning": "lightning"})
    data = TokenStream(**settings("", corpus="prose", train_file=None, prose=ProseOptions(withhold_docstrings=False)))
    groups = {split: set(data.groups(split) or ()) for split in ("train", "validation", "test")}
    assert all(groups.values()) and not groups["train"] & (groups["validation"] | groups["test"])
    assert {group.split("/")[0] for split in groups.values() for group in split} == {"torchmetrics", "lightning"}
    assert data.corpus.class_names == ()


def test_prose_lacks_the_files_and_near_copies_of_what_is_withheld() -> None:
    sentence = "one two three four five six seven eight nine ten eleven twelve"
    rows = {
        "text": ["in a held file", f"PKG {sentence}", f"numpy {sentence} thirteen", "another thing altogether here"],
        "group": ["held.py", "a.py", "b.py", "c.py"],
    }
    held = {
        "validation": {"text": ["something"], "group": ["held.py"]},
        "test": {"text": [f"PKG {sentence}"], "group": ["d.py"]},
    }
    raw = RawCorpus(splits={"train": pd.DataFrame(rows)})
    left = withhold(raw, held, lambda text: text.replace("numpy", "PKG"))
    assert left.splits["train"]["group"].tolist() == ["c.py"]
    assert left.report == {"withheld_files": 1, "withheld_near_copies": 2}


def test_more_text_is_the_training_rows_of_other_corpora_without_near_copies_of_evaluation_rows(tmp_path: Path) -> None:
    draw, folder = np.random.default_rng(1), tmp_path / "animals"
    (folder / "data").mkdir(parents=True)
    rows = pd.DataFrame(
        {
            "text": [f"label {n} " + " ".join(draw.choice(WORDS, 12)) for n in range(60)],
            "label": [n % 2 for n in range(60)],
        }
    )
    usual = TokenStream(**settings(book(tmp_path, 0)))
    rows.loc[0, "text"] = usual.texts("test")[0]
    rows.to_csv(folder / "train.csv", index=False)
    data = TokenStream(**settings(tmp_path / "book.txt", more_text=(str(folder),)))
    alone = prepare(DataConfig(corpus=str(folder)))
    added = [text for text in data.texts("train") if text not in usual.texts("train")]
    assert set(added) == set(alone.splits["train"]["text"][:]) - {rows.loc[0, "text"]} and len(added) > 40
    for split in ("validation", "test"):
        assert data.texts(split) == usual.texts(split)
        assert not set(alone.splits[split]["text"][:]) & set(data.texts("train"))
    assert data.corpus.fingerprint != usual.corpus.fingerprint and data.corpus.split_hash != usual.corpus.split_hash
    with pytest.raises(DataError, match="names a corpus twice"):
        TokenStream(**settings(tmp_path / "book.txt", more_text=("trec", "trec")))


def test_a_folder_of_evaluation_rows_is_a_corpus_that_nothing_is_trained_on(tmp_path: Path) -> None:
    folder = tmp_path / "evaluation_only"
    folder.mkdir()
    for name, text in (("validation", "A heron   waits."), ("test", "An old willow.")):
        pd.DataFrame({"text": [text, text, ""]}).to_parquet(folder / f"{name}.parquet")
    config = DataConfig(corpus=str(folder), label_column=None)
    corpus = prepare(config)
    assert {name: rows["text"][:] for name, rows in corpus.splits.items()} == {
        "train": [], "validation": ["A heron waits."] * 2 + [""], "test": ["An old willow."] * 2 + [""],
    }  # fmt: skip
    assert corpus.slug == "evaluation_only" and corpus.fingerprint != corpus.split_hash
    with pytest.raises(DataError, match="has no training rows; it is there to evaluate on"):
        _ = TokenStream(corpus=str(folder), label_column=None, tokenizer="bpe").facts
    with pytest.raises(DataError, match="has no split 'train'"):
        prepare(DataConfig(corpus=str(folder)))
    (folder / "test.parquet").unlink()
    with pytest.raises(DataError, match="has no split 'train'"):
        prepare(config)
