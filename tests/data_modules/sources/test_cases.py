"""Cases from public reports of the same job, where the folder of cases is at hand: each has its right value."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from data_modules.cleaning.prepared import prepare
from data_modules.config import DataConfig
from data_modules.errors import DataError

CASES = Path(os.environ.get("RESNORM_CASES", Path(__file__).resolve().parents[4] / "shared" / "cases"))
pytestmark = pytest.mark.skipif(
    not CASES.is_dir(),
    reason="the cases are kept outside the repository; test_file_sources.py has each kind with data of its own",
)


def config(file: str, **settings: Any) -> DataConfig:
    for name, value in list(settings.items()):
        if name.endswith("_file"):
            settings[name] = str(CASES / "data" / value)
    return DataConfig(corpus=file.rpartition(".")[2], train_file=str(CASES / "data" / file), **settings)


@pytest.mark.parametrize(
    ("file", "settings", "rows", "classes"),
    [
        ("csv_two_quotes.csv", {}, 60, ("neg", "pos")),
        ("tsv_two_quotes.tsv", {}, 60, ("neg", "pos")),
        ("tsv_one_quote.tsv", {}, 60, ("neg", "pos")),
        ("label_dollars.csv", {}, 60, ("$", "$$")),
        ("surrogate.jsonl", {}, 60, ("neg", "pos")),
        ("surrogate_label.jsonl", {}, 60, ("neg", "pos")),
        ("text_list.jsonl", {}, 60, ("neg", "pos")),
        ("text_list.parquet", {}, 60, ("neg", "pos")),
        ("text_is_index.parquet", {}, 60, ("neg", "pos")),
        ("no_header.csv", {"columns": ("label", "title", "text")}, 60, ("1", "2")),
        ("train_float.csv", {"test_file": "test_int.csv"}, 59, ("0", "1")),
        ("one_example.csv", {"minimum_class_rows": 2}, 61, ("neg", "pos")),
        ("near.csv", {"near_duplicate_threshold": None}, 60, ("a", "b")),
        ("dups.csv", {"deduplicate": False, "near_duplicate_threshold": None}, 60, ("a", "b")),
    ],
    ids=str,
)
def test_every_row_is_read(file: str, settings: dict[str, Any], rows: int, classes: tuple[str, ...]) -> None:
    corpus = prepare(config(file, **settings))
    assert corpus.report["rows_read"]["train"] == rows and corpus.class_names == classes


@pytest.mark.parametrize(
    ("file", "settings", "message"),
    [
        ("label_lists.jsonl", {}, "row 1: the label is a list; one class per row is needed"),
        ("label_dict.jsonl", {}, "row 1: the label is an object"),
        ("text_dict.jsonl", {}, "row 1: the text is an object"),
        ("label_nfc_nfd.csv", {}, "one class only"),
        ("near.csv", {}, "all 48 training rows nearly repeat a validation or test row"),
        ("dups.csv", {}, r"of 60, 60 have a text with two labels \(data.deduplicate false keeps them\)"),
        ("one_example.csv", {}, r"1 of 3 classes have 1 training row each.*\('rare'\).*data.minimum_class_rows"),
        ("no_header.csv", {}, "the first row looks like data: name the columns of a file without a header"),
        ("train.csv", {"validation_file": "test.csv", "test_file": "test.csv"}, "are the same file, test.csv"),
    ],
    ids=str,
)
def test_what_cannot_be_read_says_what_to_do(file: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        prepare(config(file, **settings))


def test_another_order_of_class_names_changes_no_label() -> None:
    found = [prepare(DataConfig(corpus=str(CASES / "folders" / f"{order}_order"))) for order in ("same", "swapped")]
    rows = [
        list(zip(corpus.splits["test"]["text"][:], corpus.splits["test"]["label"][:], strict=True)) for corpus in found
    ]
    assert rows[0] == rows[1] and found[0].class_names == found[1].class_names


def test_folders_named_after_classes_are_read() -> None:
    corpus = prepare(DataConfig(corpus=str(CASES / "folders" / "aclImdb")))
    assert corpus.class_names == ("neg", "pos") and corpus.report["rows_read"] == {"train": 60, "test": 20}
