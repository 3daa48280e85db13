from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from data_modules.config import ListOpsOptions
from data_modules.errors import DataError
from data_modules.labelled_text import TextDataModule


def module(**settings: Any) -> TextDataModule:
    return TextDataModule(
        **{"corpus": "listops", "listops": ListOpsOptions(train_rows=2_100, evaluation_rows=100)} | settings
    )


def test_facts_describe_the_training_rows() -> None:
    data = module(batch_size=64)
    facts = data.facts
    labels = data.corpus.splits["train"]["label"][:]
    assert facts.class_counts == tuple(labels.count(label) for label in range(10))
    assert facts.steps_per_epoch == len(data.train_dataloader()) == len(list(data.train_dataloader())) == 33
    assert facts.vocabulary_size == 3 + 10 + 2 + 1  # special tokens, digits, MAX and MIN, the closing bracket


def test_a_tune_run_cannot_reach_the_test_split() -> None:
    data = module(stage="tune")
    for reach in (data.test_dataloader, lambda: data.texts("test"), lambda: data.groups("test")):
        with pytest.raises(DataError, match="never reads the test split"):
            reach()
    assert sum(len(batch["rows"]) for batch in module(stage="final").test_dataloader()) == 100


def test_the_training_sample_is_fixed_and_at_most_two_thousand_rows() -> None:
    rows = [
        [row for batch in module(seed=seed).train_sample_dataloader() for row in batch["rows"].tolist()]
        for seed in (0, 1)
    ]
    assert rows[0] == rows[1] and len(set(rows[0])) == 2_000


def test_worker_processes_give_the_same_batches() -> None:
    alone, helped = ([batch["rows"].tolist() for batch in module(num_workers=n).train_dataloader()] for n in (0, 1))
    assert alone == helped


def test_lightning_sets_the_epoch_of_the_order() -> None:
    from lightning.fabric.utilities.data import _set_sampler_epoch

    loader = module().train_dataloader()
    first = [batch["rows"].tolist() for batch in loader]
    _set_sampler_epoch(loader, 1)
    second = [batch["rows"].tolist() for batch in loader]
    _set_sampler_epoch(loader, 0)
    assert first != second
    assert [batch["rows"].tolist() for batch in loader] == first


def test_new_texts_are_encoded_as_the_corpus_was() -> None:
    data = module()
    texts = data.texts("validation")
    (expected,) = data.val_dataloader()
    (batch,) = data.text_batches([f"<b>{text}</b>  " for text in texts])
    assert batch["input_ids"].equal(expected["input_ids"]) and batch["rows"].equal(expected["rows"])


def test_new_texts_are_left_as_they_are_where_the_corpus_was_not_cleaned() -> None:
    data = module(clean=False)
    (dressed,), (bare,) = data.text_batches(["<b>MAX</b>"]), data.text_batches(["MAX"])
    assert dressed["attention_mask"].sum() > bare["attention_mask"].sum()


@pytest.mark.parametrize("tokenizer", ["word", "char"])
def test_what_only_evaluation_rows_hold_is_unknown(tokenizer: str, tmp_path: Path) -> None:
    paths = {}
    for name, word in {"train": "aaa", "validation": "bbb", "test": "ccc"}.items():
        paths[f"{name}_file"] = str(tmp_path / f"{name}.csv")
        rows = [f"{word}," + label for label in "xy" for _ in range(20)]
        Path(paths[f"{name}_file"]).write_text("\n".join(["text,label", *rows]))
    data = TextDataModule(corpus="csv", tokenizer=tokenizer, deduplicate=False, near_duplicate_threshold=None, **paths)
    known, *unknown = (data.encoded.tokenizer.encode([word])[0] for word in ("aaa", "bbb", "ccc", "ddd"))
    assert unknown == [unknown[0]] * 3
    assert known != unknown[0]


def test_a_second_start_takes_the_encoded_rows_from_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = module().facts
    monkeypatch.setattr("data_modules.tokens.tokenization.learn", lambda *args: pytest.fail("learned a second time"))
    assert module().facts == facts


@pytest.mark.parametrize("changes", [{"lowercase": False}, {"max_length": 4}, {"tokenizer": "char"}], ids=str)
def test_other_settings_of_the_tokenizer_find_nothing_in_the_cache(changes: dict[str, Any]) -> None:
    def encoded(data: TextDataModule) -> tuple[list[list[int]], int]:
        return data.encoded.tokenizer.encode(["max 2"]), int(data.encoded.splits["train"].lengths.max())

    assert encoded(module()) != encoded(module(**changes))
