"""Local folders: class names of each split, files named after splits, texts in folders named after their class."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from data_modules.cleaning.prepared import PreparedCorpus, prepare
from data_modules.config import DataConfig
from data_modules.errors import DataError

NAMES = ("neg", "pos")
TRAIN = {f"training text {n}": NAMES[n % 2] for n in range(40)}
TEST = {f"test text {n}": NAMES[n // 2 % 2] for n in range(20)}


def prepared(folder: Path, **settings: object) -> PreparedCorpus:
    return prepare(DataConfig(corpus=str(folder), near_duplicate_threshold=None, **settings))


def classes(corpus: PreparedCorpus, split: str) -> dict[str, str]:
    """Return the name of the class of every text of a split."""
    rows = corpus.splits[split]
    return {text: corpus.class_names[label] for text, label in zip(rows["text"][:], rows["label"][:], strict=True)}


def numbered(rows: dict[str, str], names: list[str]) -> Dataset:
    features = Features(text=Value("string"), label=ClassLabel(names=names))
    return Dataset.from_dict({"text": list(rows), "label": [names.index(name) for name in rows.values()]}, features)


def named(rows: dict[str, str]) -> Dataset:
    return Dataset.from_dict({"text": list(rows), "label": list(rows.values())})


def with_texts_of_labels(rows: dict[str, str], names: list[str]) -> Dataset:
    labels = [names.index(name) for name in rows.values()]
    return Dataset.from_dict({"text": list(rows), "label": labels, "label_text": list(rows.values())})


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (numbered(TRAIN, ["neg", "pos"]), numbered(TEST, ["neg", "pos"])),
        (numbered(TRAIN, ["neg", "pos"]), numbered(TEST, ["pos", "neg"])),
        (numbered(TRAIN, ["pos", "neg"]), numbered(TEST, ["odd", "neg", "pos"])),
        (numbered(TRAIN, ["pos", "neg"]), named(TEST)),
        (named(TRAIN), numbered(TEST, ["pos", "neg"])),
        (with_texts_of_labels(TRAIN, ["neg", "pos"]), with_texts_of_labels(TEST, ["pos", "neg"])),
        (with_texts_of_labels(TRAIN, ["neg", "pos"]), numbered(TEST, ["pos", "neg"])),
    ],
    ids=["same order", "swapped", "one name more", "names in test", "names in train", "texts of labels", "both kinds"],
)
def test_every_row_keeps_its_class_whatever_the_order_of_names(train: Dataset, test: Dataset, tmp_path: Path) -> None:
    DatasetDict(train=train, test=test).save_to_disk(tmp_path / "rows")
    corpus = prepared(tmp_path / "rows")
    assert classes(corpus, "test") == TEST
    assert classes(corpus, "train") | classes(corpus, "validation") == TRAIN
    assert sorted(corpus.class_names) == ["neg", "pos"]


def test_a_class_that_training_rows_lack_is_named(tmp_path: Path) -> None:
    odd = TEST | {"an odd text": "odd"}
    DatasetDict(train=numbered(TRAIN, ["neg", "pos"]), test=numbered(odd, ["pos", "neg", "odd"])).save_to_disk(
        tmp_path / "rows"
    )
    with pytest.raises(DataError, match=r"rows \(test\): the rows have a label that no training row has: 'odd'"):
        prepared(tmp_path / "rows")


@pytest.mark.parametrize("order", [["neg", "pos"], ["pos", "neg"]])
def test_parquet_files_go_by_the_names_that_datasets_noted_in_them(order: list[str], tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{name}.parquet") for name in ("train", "test")]
    numbered(TRAIN, ["neg", "pos"]).to_parquet(paths[0])
    numbered(TEST, order).to_parquet(paths[1])
    config = DataConfig(corpus="parquet", train_file=paths[0], test_file=paths[1], near_duplicate_threshold=None)
    assert classes(prepare(config), "test") == TEST
    if order == ["neg", "pos"]:
        assert classes(prepared(tmp_path), "test") == TEST
    else:  # datasets takes the names of one file for all
        with pytest.raises(DataError, match=r"numbers its classes differently in test\.parquet .* and train\.parquet"):
            prepared(tmp_path)


def test_a_row_without_a_class_is_dropped_in_a_swapped_order_too(tmp_path: Path) -> None:
    rows = numbered(TEST, ["pos", "neg"]).to_dict()
    rows["label"][0] = -1
    test = Dataset.from_dict(rows, Features(text=Value("string"), label=ClassLabel(names=["pos", "neg"])))
    DatasetDict(train=numbered(TRAIN, ["neg", "pos"]), test=test).save_to_disk(tmp_path / "rows")
    corpus = prepared(tmp_path / "rows")
    assert classes(corpus, "test") == dict(list(TEST.items())[1:])
    assert corpus.report["source"] == {"test_rows_without_label": 1}


def test_several_classes_of_a_row_are_refused(tmp_path: Path) -> None:
    labels = [[0], [0, 1]] * 20
    Dataset.from_dict({"text": list(TRAIN), "label": labels}).save_to_disk(tmp_path / "rows")
    with pytest.raises(DataError, match=r"rows \(train\), row 1: the label is a list; one class per row is needed"):
        prepared(tmp_path / "rows")


def write_texts(folder: Path, rows: dict[str, str], encoding: str = "utf-8") -> None:
    for number, (text, name) in enumerate(rows.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / f"{number}.txt").write_text(text, encoding=encoding)


def test_texts_in_folders_named_after_splits_and_classes(tmp_path: Path) -> None:
    folder = tmp_path / "reviews"
    write_texts(folder / "train", TRAIN)
    write_texts(folder / "train", {f"unlabelled {n}": "unsup" for n in range(9)})
    write_texts(folder / "test", TEST)
    (folder / "README.txt").write_text("What this is.")
    corpus = prepared(folder)
    assert corpus.class_names == ("neg", "pos")
    assert classes(corpus, "test") == TEST
    assert classes(corpus, "train") | classes(corpus, "validation") == TRAIN


def test_texts_in_folders_named_after_classes_alone(tmp_path: Path) -> None:
    write_texts(tmp_path / "news", {f"{text} über": name for text, name in TRAIN.items()}, encoding="latin-1")
    corpus = prepared(tmp_path / "news", encoding="latin-1")
    found = {text: name for split in corpus.splits for text, name in classes(corpus, split).items()}
    assert found == {f"{text} über": name for text, name in TRAIN.items()}
    with pytest.raises(DataError, match=r"0\.txt is not UTF-8 text \(byte 16\); name its encoding with data.encoding"):
        prepared(tmp_path / "news")


@pytest.mark.parametrize("separator", ["csv", "tsv"])
def test_files_named_after_splits_are_read_as_single_files_are(separator: str, tmp_path: Path) -> None:
    mark = {"csv": ",", "tsv": "\t"}[separator]
    for split, rows in {"train": TRAIN, "dev": TEST}.items():
        lines = ["text" + mark + "label", *(f'"{text}{mark}{name}' for text, name in rows.items()), f"NA{mark}pos"]
        (tmp_path / f"{split}.{separator}").write_text("\n".join(lines))
    corpus = prepared(tmp_path)
    assert classes(corpus, "validation") == {f'"{text}': name for text, name in TEST.items()} | {"NA": "pos"}


def test_several_files_of_a_split_with_marks_in_their_texts_are_refused(tmp_path: Path) -> None:
    for number in range(2):
        lines = ["text,label", *(f"{text} of {number},{name}" for text, name in TRAIN.items())]
        (tmp_path / f"train-{number}.csv").write_text("\n".join(lines))
    corpus = prepared(tmp_path)
    assert sum(len(rows) for rows in corpus.splits.values()) == 80
    (tmp_path / "train-2.csv").write_text("\n".join(["text,label", '"a,neg', "b,pos", '"c,pos']))
    with pytest.raises(DataError, match=r"train-2\.csv has texts with quotation marks"):
        prepared(tmp_path)


def test_one_of_several_configurations_is_chosen_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "both"
    folder.mkdir()
    for name, rows in {"long": TRAIN, "short": TEST}.items():
        lines = [json.dumps({"text": text, "label": label}) for text, label in rows.items()]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    configurations = "".join(f"- config_name: {name}\n  data_files: {name}.jsonl\n" for name in ("long", "short"))
    (folder / "README.md").write_text(f"---\nconfigs:\n{configurations}---\n")
    for name, rows in {"long": TRAIN, "short": TEST}.items():
        corpus = prepared(folder, configuration=name)
        assert {text: kind for split in corpus.splits for text, kind in classes(corpus, split).items()} == rows
        assert corpus.slug == f"both_{name}"
    with pytest.raises(DataError, match=r"several configurations; choose one with data\.configuration .*long.*short"):
        prepared(folder)


def test_group_and_label_columns_of_a_folder_have_their_own_names(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"body": list(TRAIN), "kind": list(TRAIN.values()), "author": [f"a{n // 4}" for n in range(40)]}
    )
    DatasetDict(train=Dataset.from_pandas(frame)).save_to_disk(tmp_path / "rows")
    corpus = prepared(tmp_path / "rows", text_column="body", label_column="kind", group_column="author")
    groups = [set(corpus.splits[name]["group"][:]) for name in corpus.splits]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 10
