"""What may be a text or a label, whatever the format: gaps, numbers, lists, half characters, names that look alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from data_modules.cleaning.prepared import PreparedCorpus, prepare
from data_modules.config import DataConfig
from data_modules.errors import DataError
from data_modules.sources.columns import one_spelling, raw_corpus
from data_modules.sources.files import read_table
from data_modules.sources.source import SPLITS

TEXTS = [f"the text of row number {n}" for n in range(60)]
NESTED = pytest.mark.parametrize("file_format", ["jsonl", "parquet"])


def write(folder: Path, file_format: str, texts: list[Any], labels: list[Any], name: str = "rows") -> str:
    path = folder / f"{name}.{file_format}"
    if file_format == "jsonl":
        rows = [{"text": text, "label": label} for text, label in zip(texts, labels, strict=True)]
        path.write_text("\n".join(map(json.dumps, rows)))
    elif file_format == "parquet":
        pd.DataFrame({"text": texts, "label": labels}).to_parquet(path)
    else:
        pd.DataFrame({"text": texts, "label": labels}).to_csv(path, index=False)
    return str(path)


def load(path: str, **settings: Any) -> PreparedCorpus:
    settings = {"near_duplicate_threshold": None} | settings
    return prepare(DataConfig(corpus=path.rpartition(".")[2], train_file=path, **settings))


def labels_of(corpus: PreparedCorpus) -> dict[str, str]:
    return {
        text: corpus.class_names[label]
        for name in SPLITS
        for text, label in zip(corpus.splits[name]["text"][:], corpus.splits[name]["label"][:], strict=True)
    }


@NESTED
@pytest.mark.parametrize(
    ("label", "kind"), [(["pos"], "a list"), ([], "a list"), ({"name": "pos"}, "an object")], ids=str
)
def test_a_label_of_several_parts_is_refused_with_its_row(
    label: Any, kind: str, file_format: str, tmp_path: Path
) -> None:
    path = write(tmp_path, file_format, TEXTS, [None, None, label] + 57 * [None])
    with pytest.raises(DataError, match=rf"rows\.{file_format}, row 3: the label is {kind}; one class per row"):
        load(path)


@NESTED
def test_an_object_as_text_is_refused_and_words_are_joined(file_format: str, tmp_path: Path) -> None:
    labels = ["a", "b"] * 30
    words = load(write(tmp_path, file_format, [text.split() for text in TEXTS], labels))
    assert labels_of(words) == dict(zip(TEXTS, labels, strict=True))
    path = write(tmp_path, file_format, [{"body": text} for text in TEXTS], labels, "objects")
    with pytest.raises(DataError, match=rf"objects\.{file_format}, row 1: the text is an object"):
        load(path)


def test_half_a_character_goes_and_is_counted(tmp_path: Path) -> None:
    texts = [f"{text} \ud83d end" for text in TEXTS]
    corpus = load(write(tmp_path, "jsonl", texts, ["p\ud83dos", "neg\udc00"] * 30))
    assert labels_of(corpus) == {f"{text} end": ("pos", "neg")[n % 2] for n, text in enumerate(TEXTS)}
    assert corpus.report["cleaning"]["train"]["control_characters"] == 60


def test_a_table_that_was_read_can_be_written_in_any_format(tmp_path: Path) -> None:
    table = read_table(Path(write(tmp_path, "jsonl", ["a \ud83d b", "c"], [["x"], 1.5])), "jsonl")
    table.to_json(tmp_path / "again.jsonl", orient="records", lines=True, force_ascii=False)
    assert read_table(tmp_path / "again.jsonl", "jsonl").to_dict("records") == [
        {"text": "a  b", "label": ["x"]},
        {"text": "c", "label": 1.5},
    ]


def test_a_whole_number_that_is_written_in_two_ways_is_one_class(tmp_path: Path) -> None:
    train = write(tmp_path, "csv", TEXTS, ["1.0", "0.0"] * 30)
    test = write(tmp_path, "csv", [f"{text} again" for text in TEXTS[:20]], [1, 0] * 10, "test")
    corpus = load(train, test_file=test)
    assert corpus.class_names == ("0", "1")
    assert corpus.splits["test"]["label"][:] == [1, 0] * 10
    assert load(train).class_names == ("0.0", "1.0")  # as they are where nothing contradicts them


@pytest.mark.parametrize(
    ("labels", "spelled"),
    [
        ({"1", "1.0", "2.00"}, {"1": "1", "1.0": "1", "2.00": "2"}),
        ({"1.0", "2.0"}, {"1.0": "1.0", "2.0": "2.0"}),
        ({"007", "7"}, {"007": "007", "7": "7"}),
        ({"1", "1.0", "a"}, {"1": "1", "1.0": "1.0", "a": "a"}),
        ({"1.5", "1"}, {"1.5": "1.5", "1": "1"}),
    ],
)
def test_only_whole_numbers_in_two_spellings_are_brought_together(labels: set[str], spelled: dict[str, str]) -> None:
    assert one_spelling(labels) == spelled


@pytest.mark.parametrize("file_format", ["csv", "jsonl", "parquet"])
def test_names_that_look_alike_are_one(file_format: str, tmp_path: Path) -> None:
    labels = ["caf\u00e9", "cafe\u0301", "thé"] * 20
    corpus = load(write(tmp_path, file_format, TEXTS, labels))
    assert corpus.class_names == ("caf\u00e9", "th\u00e9")


def test_groups_that_look_alike_are_one() -> None:
    piece = pd.DataFrame({"t": ["a", "b"], "g": ["e\u0301", "\u00e9"]})
    raw = raw_corpus({"train": [piece]}, {"text": "t", "group": "g"})
    assert raw.splits["train"]["group"].nunique() == 1


def test_a_text_that_pandas_kept_as_its_index_is_a_column(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    labels = ["a", "b"] * 30
    pd.DataFrame({"label": labels}, index=pd.Index(TEXTS, name="text")).to_parquet(path)
    assert labels_of(load(str(path))) == dict(zip(TEXTS, labels, strict=True))


@pytest.mark.parametrize("file_format", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        (TEXTS, ["a", "b" * 200_000] * 30, r"row 2: the label is 200,000 characters long; is it the column of classes"),
        ([f"text {n}" for n in range(20_000)], list(range(20_000)), r"has 20,000 different values.*at most 5,000"),
        ([*TEXTS[:-1], "x" * 50_000_000], ["a", "b"] * 30, "longer than 10,000,000 bytes|50,000,000 characters long"),
    ],
    ids=["long label", "many classes", "long text"],
)
def test_a_column_that_is_no_text_or_no_class_is_refused_soon(
    texts: list[str], labels: list[Any], message: str, file_format: str, tmp_path: Path
) -> None:
    path = write(tmp_path, file_format, texts, labels)
    with pytest.raises(DataError, match=message) as raised:
        load(path)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    "line",
    [
        '{"text": ' + "9" * 5_000 + ', "label": 1}',
        '{"text": ' + "[" * 100_000 + ', "label": 1}',
        "{" + ", ".join(f'"{n}": 1' for n in range(20_000)) + "}",
    ],
    ids=["digits", "brackets", "fields"],
)
def test_a_line_of_json_that_is_no_row_is_one_short_sentence(line: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "a", "label": "b"}\n' + line)
    with pytest.raises(DataError, match=r"rows\.jsonl, line 2") as raised:
        load(str(tmp_path / "rows.jsonl"))
    assert len(str(raised.value)) < 300 and "\n" not in str(raised.value)
