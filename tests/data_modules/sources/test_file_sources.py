from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from data_modules import cache
from data_modules.cleaning.prepared import PreparedCorpus, prepare
from data_modules.config import DataConfig
from data_modules.errors import DataError
from data_modules.labelled_text import TextDataModule
from data_modules.sources.files import read_table
from data_modules.sources.source import SPLITS

CLASSES = ("red", "green", "blue")


def table(rows: int = 60, start: int = 0) -> pd.DataFrame:
    numbers = range(start, start + rows)
    return pd.DataFrame(
        {"text": [f"row {n} is {CLASSES[n % 3]} today" for n in numbers], "label": [CLASSES[n % 3] for n in numbers]}
    )


def write(path: Path, frame: pd.DataFrame) -> str:
    match path.suffix:
        case ".csv":
            frame.to_csv(path, index=False)
        case ".tsv":
            frame.to_csv(path, index=False, sep="\t")
        case ".jsonl":
            path.write_text("\n".join(json.dumps(row) for row in frame.to_dict("records")), encoding="utf-8")
        case ".parquet":
            frame.to_parquet(path)
    return str(path)


def load(path: str, **settings: Any) -> PreparedCorpus:
    settings = {"near_duplicate_threshold": None} | settings
    return prepare(DataConfig(corpus=Path(path).suffix[1:], train_file=path, **settings))


def all_rows(corpus: PreparedCorpus) -> set[tuple[str, str]]:
    return {
        (text, corpus.class_names[label])
        for name in SPLITS
        for text, label in zip(corpus.splits[name]["text"][:], corpus.splits[name]["label"][:], strict=True)
    }


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_every_format_gives_the_same_corpus(suffix: str, tmp_path: Path) -> None:
    corpus = load(write(tmp_path / f"colours.{suffix}", table()))
    assert corpus.slug == "colours" and corpus.source == f"file:colours.{suffix}"
    assert corpus.class_names == ("blue", "green", "red")
    assert all_rows(corpus) == set(table().itertuples(index=False, name=None))
    assert [len(corpus.splits[name]) for name in SPLITS] == [48, 6, 6]


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_cells_that_look_like_gaps_or_numbers_are_the_text_they_are(suffix: str, tmp_path: Path) -> None:
    labels = ["NA", "null", "007"]
    frame = pd.DataFrame({"text": [f"{label} {n}" for n in range(20) for label in labels], "label": 20 * labels})
    frame.loc[:2, "text"] = ["nan", "None", "1.0"]
    corpus = load(write(tmp_path / f"a.{suffix}", frame))
    assert corpus.class_names == ("007", "NA", "null")
    assert all_rows(corpus) == set(frame.itertuples(index=False, name=None))


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl"])
def test_a_byte_order_mark_is_no_part_of_the_text(suffix: str, tmp_path: Path) -> None:
    path = Path(write(tmp_path / f"a.{suffix}", table()))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert all_rows(load(str(path))) == set(table().itertuples(index=False, name=None))


def test_whole_numbers_as_labels_are_classes_in_the_order_of_their_size(tmp_path: Path) -> None:
    frame = table().assign(label=[(10, 9, -1)[n % 3] for n in range(60)])
    corpus = load(write(tmp_path / "a.csv", frame))
    assert corpus.class_names == ("-1", "9", "10")
    assert all_rows(corpus) == {(text, str(label)) for text, label in frame.itertuples(index=False, name=None)}


def test_a_folder_is_read_with_its_class_names_and_groups(tmp_path: Path) -> None:
    folder = tmp_path / "my colours"
    frame = table().assign(label=[n % 3 for n in range(60)], group=[f"g{n // 3 % 12}" for n in range(60)])
    features = Features(text=Value("string"), label=ClassLabel(names=list(CLASSES)), group=Value("string"))
    DatasetDict(train=Dataset.from_pandas(frame, features=features)).save_to_disk(folder)
    corpus = prepare(DataConfig(corpus=str(folder), near_duplicate_threshold=None, test_fraction=0.25))
    assert corpus.slug == "my_colours" and corpus.class_names == CLASSES
    assert all_rows(corpus) == set(table().itertuples(index=False, name=None))
    groups = [set(corpus.splits[name]["group"][:]) for name in SPLITS]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 12


def test_splits_that_are_cut_have_their_shares_of_all_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", table(150))
    corpus = load(path, validation_fraction=0.3, test_fraction=0.4)
    assert [len(corpus.splits[name]) for name in SPLITS] == [45, 45, 60]


def test_which_rows_a_split_holds_does_not_depend_on_how_classes_are_numbered(tmp_path: Path) -> None:
    by_name = load(write(tmp_path / "a.csv", table()))
    features = Features(text=Value("string"), label=ClassLabel(names=list(CLASSES)))
    rows = Dataset.from_pandas(table().assign(label=[n % 3 for n in range(60)]), features=features)
    DatasetDict(train=rows).save_to_disk(tmp_path / "b")
    by_number = prepare(DataConfig(corpus=str(tmp_path / "b"), near_duplicate_threshold=None))
    assert by_name.class_names != by_number.class_names
    for name in SPLITS:
        assert by_name.splits[name]["text"][:] == by_number.splits[name]["text"][:]


def test_an_evaluation_label_without_a_class_is_named(tmp_path: Path) -> None:
    rows = {"train": table(), "test": table(6, start=100)}
    (tmp_path / "colours").mkdir()
    for name, frame in rows.items():
        index = frame["label"].map(list(CLASSES).index)
        frame = frame.assign(label=index, label_text=frame["label"])
        if name == "test":
            frame.loc[0, ["label", "label_text"]] = [3, "violet"]
        write(tmp_path / "colours" / f"{name}.jsonl", frame)
    with pytest.raises(DataError, match="no training row has: 'violet'"):
        prepare(DataConfig(corpus=str(tmp_path / "colours"), near_duplicate_threshold=None))


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_rows_without_a_group_are_counted_and_refused(suffix: str, tmp_path: Path) -> None:
    frame = table().assign(author=[f"author {n // 3}" if n > 1 else None for n in range(60)])
    with pytest.raises(DataError, match=r"2 row\(s\) have no group in the column 'author'"):
        load(write(tmp_path / f"a.{suffix}", frame), group_column="author")


@pytest.mark.parametrize(("name", "other"), [("validation", "test"), ("test", "validation")])
def test_given_evaluation_rows_stay_and_their_training_copies_go(name: str, other: str, tmp_path: Path) -> None:
    train = pd.concat([table(), table(6, start=100)])
    given = pd.concat([table(6, start=100), table(6, start=100)])  # the copies within a given split stay as well
    corpus = load(write(tmp_path / "a.csv", train), **{f"{name}_file": write(tmp_path / "b.csv", given)})
    assert corpus.splits[name]["text"][:] == given["text"].tolist()
    assert not {*corpus.splits["train"]["text"][:], *corpus.splits[other]["text"][:]} & set(given["text"])
    assert corpus.report["duplicates"][f"train_copies_of_{name}"] == 6
    assert corpus.report["splits"] == {"train": "given", name: "given", other: "cut, stratified, seed 0"}


def test_an_empty_row_goes_from_the_training_rows_and_stays_in_a_given_split(tmp_path: Path) -> None:
    rows = {name: table(30, start=start) for name, start in {"train": 0, "validation": 30, "test": 60}.items()}
    for frame in rows.values():
        frame.loc[4, "text"] = "<br>"
    paths = {f"{name}_file": write(tmp_path / f"{name}.csv", frame) for name, frame in rows.items()}
    corpus = load(paths.pop("train_file"), **paths)
    assert [len(corpus.splits[name]) for name in SPLITS] == [29, 30, 30]
    assert corpus.splits["validation"]["text"][4] == corpus.splits["test"]["text"][4] == ""


def test_a_messy_csv_is_cleaned_split_and_batched(tmp_path: Path) -> None:
    rows = table(90)
    rows["text"] = [
        f"<p>{text}</p>&nbsp;&amp; 残差连接 naïve\x07 \U0001f600" if index % 2 else f"  {text}\t<br>  "
        for index, text in enumerate(rows["text"])
    ]
    mess = pd.DataFrame({"text": ["", "   ", "<b></b>", rows["text"][0], rows["text"][1], "same", "SAME"],
                         "label": ["red", "red", "red", "red", "green", "red", "blue"]})  # fmt: skip
    path = write(tmp_path / "messy.csv", pd.concat([rows, mess]))
    module = TextDataModule(corpus="csv", train_file=path, stage="final", near_duplicate_threshold=None, batch_size=16)
    report = module.corpus.report
    assert report["cleaning"]["train"]["empty_rows_removed"] == 3
    assert report["duplicates"] == {"train_contradictory_labels": 2, "train_repeated": 2}
    assert report["rows"] == {"train": 72, "validation": 9, "test": 9}
    texts = [text for name in SPLITS for text in module.texts(name)]
    assert not any("<" in text or "&nbsp" in text or "\x07" in text for text in texts)
    assert any("残差连接 naïve \U0001f600" in text for text in texts)
    seen = [row for batch in module.train_dataloader() for row in batch["rows"].tolist()]
    assert sorted(seen) == list(range(72))


def test_max_train_rows_thins_train_only_and_keeps_the_split_hash(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", table())
    whole, thinned = load(path), load(path, max_train_rows=12)
    assert len(thinned.splits["train"]) == 12
    assert whole.splits["test"]["text"][:] == thinned.splits["test"]["text"][:]
    assert (whole.fingerprint, whole.split_hash) == (thinned.fingerprint, thinned.split_hash)


def test_shuffled_words_are_the_same_words_in_another_order(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", table())
    plain, shuffled = load(path), load(path, shuffle_words=True)
    before, after = plain.splits["train"]["text"][:], shuffled.splits["train"]["text"][:]
    assert before != after
    assert [sorted(text.split()) for text in before] == [sorted(text.split()) for text in after]


def file_of(folder: Path, content: bytes) -> str:
    (folder / "a.csv").write_bytes(content)
    return str(folder / "a.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"text,label\n", "has no rows"),
        ("text,label\ncaf\xe9,a\n".encode("latin-1"), "is not UTF-8"),
        (b"text,label\na,red\nb,red\n", "have one class only"),
        (b"text,label\na,red\nb,blue\n", "too few to cut"),
        (b"text,label\n,red\n,blue\n", "no training rows are left"),
        (b"words,label\na,red\n", "has no column 'text'.*its columns are: words, label"),
        (b"texts,label\na,red\n", "did you mean 'texts'"),
        (b"text,label\na, b,red\nc, d,blue\n", "more fields than the header has names.*double quotes"),
        (b"text,label\na, b,red\nc,blue\n", "more fields than the header has names"),
    ],
)
def test_an_unfit_file_gets_one_clear_sentence(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message) as raised:
        load(file_of(tmp_path, content))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"near_duplicate_threshold": 70.0}, "data.near_duplicate_threshold is 70.0; it must be above 0 and at most 1"),
        ({"near_duplicate_threshold": 0.0}, "or null to keep near duplicates"),
        ({"split_seed": -1}, "data.split_seed is -1; it cannot be negative"),
        ({"seed": -1}, "data.seed is -1"),
        ({"num_workers": -1}, "data.num_workers is -1"),
        ({"batch_size": 0}, "data.batch_size is 0; it must be at least 1"),
        ({"test_fraction": 1.0}, "data.test_fraction is 1.0; it must lie between 0 and 1"),
    ],
)
def test_a_number_out_of_range_is_refused_at_construction(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        DataConfig(**settings)


def test_unfit_settings_get_one_clear_sentence(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", table())
    violet = write(tmp_path / "b.csv", table(6).assign(label="violet"))
    for message, settings in {
        "no training row has: 'violet'": {"test_file": violet},
        "does not exist; did you mean 'b.csv'": {"test_file": str(tmp_path / "bb.csv")},
        "fewer than the 3 classes": {"max_train_rows": 2},
        "the same file": {"test_file": path},
        "leave no training rows": {"validation_fraction": 0.5, "test_fraction": 0.5},
    }.items():
        with pytest.raises(DataError, match=message):
            load(path, **settings)


@pytest.mark.parametrize(("first", "second"), [("validation", "test"), ("train", "test"), ("train", "validation")])
def test_two_splits_of_the_same_rows_are_refused(first: str, second: str, tmp_path: Path) -> None:
    path, copy = write(tmp_path / "a.csv", table()), write(tmp_path / "b.csv", table())
    other = write(tmp_path / "c.csv", table(30, start=100))
    files = {"train_file": other, f"{first}_file": path, f"{second}_file": path}
    with pytest.raises(DataError, match=rf"data\.{first}_file and data\.{second}_file are the same file, a\.csv"):
        prepare(DataConfig(corpus="csv", **files))
    with pytest.raises(DataError, match=r"hold the same, a\.csv and b\.csv"):
        prepare(DataConfig(corpus="csv", **files | {f"{second}_file": copy}))


def test_rows_that_validation_and_test_share_are_counted(tmp_path: Path) -> None:
    starts = {"validation_file": 100, "test_file": 108}
    files = {name: write(tmp_path / f"{name}.csv", table(12, start=start)) for name, start in starts.items()}
    corpus = load(write(tmp_path / "a.csv", table()), **files)
    assert corpus.report["duplicates"]["validation_rows_that_are_in_test"] == 4


def test_a_folder_as_a_file_and_a_file_as_a_corpus_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is a folder; pass a data set's folder as data.corpus"):
        prepare(DataConfig(corpus="csv", train_file=str(tmp_path)))
    for name, kind in {"a.json": "jsonl", "a.csv.gz": "csv", "a.tab": "tsv", "a.parquet": "parquet"}.items():
        (tmp_path / name).write_text("x")
        with pytest.raises(DataError, match=f"pass --data.corpus {kind} --data.train_file"):
            prepare(DataConfig(corpus=str(tmp_path / name)))


def test_a_file_is_named_once_in_a_message(tmp_path: Path) -> None:
    with pytest.raises(DataError) as raised:
        load(file_of(tmp_path, b"text,label\na, b,red\nc, d,blue\n"))
    assert str(raised.value).count("a.csv") == 1


def test_columns_of_a_parquet_file_are_what_they_were(tmp_path: Path) -> None:
    frame = pd.DataFrame({"number": pd.array([1, None, 3], "Int64"), "text": ["a", None, "c"], "kind": [0, 1, 0]})
    features = Features(number=Value("int64"), text=Value("string"), kind=ClassLabel(names=["x", "y"]))
    Dataset.from_pandas(frame, features=features).to_parquet(tmp_path / "a.parquet")
    frame.set_index("text").to_parquet(tmp_path / "b.parquet")
    frame.iloc[[2, 0, 1]].to_parquet(tmp_path / "c.parquet")
    for name in "abc":
        rows = read_table(tmp_path / f"{name}.parquet", "parquet").sort_values("number")
        assert {column: [None if pd.isna(value) else value for value in rows[column]] for column in rows} == {
            "number": [1, 3, None], "text": ["a", "c", None], "kind": [0, 0, 1]
        }  # fmt: skip


def test_classes_with_few_rows_are_named_and_can_be_dropped(tmp_path: Path) -> None:
    rare = pd.DataFrame({"text": ["one of a kind", "another", "a third", "a third"], "label": ["a", "zz", "m", "m"]})
    path = write(tmp_path / "a.csv", pd.concat([table(), rare]))
    with pytest.raises(DataError, match=r"3 of 6 classes have 1 training row each.*\('a', 'm', 'zz'\)"):
        load(path)
    corpus = load(path, minimum_class_rows=2)
    assert corpus.class_names == ("blue", "green", "red")
    assert corpus.report["rare_classes_dropped"] == {"a": 1, "m": 1, "zz": 1}
    assert all_rows(corpus) == set(table().itertuples(index=False, name=None))
    test = write(tmp_path / "test.csv", rare)
    with pytest.raises(DataError, match=r"the test rows have classes with fewer than 2 training rows.*such as 'a'"):
        load(path, minimum_class_rows=2, test_file=test, deduplicate=False)


def test_rows_that_all_go_say_why(tmp_path: Path) -> None:
    same = pd.DataFrame({"text": [f"same text {n // 2}" for n in range(40)], "label": ["a", "b"] * 20})
    with pytest.raises(DataError, match=r"of 40, 40 have a text with two labels \(data.deduplicate false keeps them"):
        load(write(tmp_path / "a.csv", same))
    words = "the quick brown river runs over the old stone bridge near town number"
    near = pd.DataFrame({"text": [f"{words} {n}" for n in range(40)], "label": ["a", "b"] * 20})
    with pytest.raises(DataError, match=r"all 32 training rows nearly repeat.*near_duplicate_threshold 0.7; null"):
        load(write(tmp_path / "b.csv", near), near_duplicate_threshold=0.7)


def test_a_damaged_text_in_the_cache_is_built_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "a.csv", table())
    corpus = load(path)
    before = {name: rows[:] for name, rows in corpus.splits.items()}
    arrow = next((corpus.folder / "rows" / "train").glob("*.arrow"))
    arrow.write_bytes(arrow.read_bytes()[:-100])
    cache._checked.clear()  # as in another process
    assert {name: rows[:] for name, rows in load(path).splits.items()} == before
    assert [record.levelname for record in caplog.records if "is damaged" in record.getMessage()] == ["WARNING"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has neither umask nor permission bits")
def test_another_user_can_read_what_is_in_the_cache(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        path = write(tmp_path / "a.csv", table())
        data = TextDataModule(corpus="csv", train_file=path, near_duplicate_threshold=None)
        data.prepare_data()
    finally:
        os.umask(before)
    for entry in (data.corpus.folder, data.encoded.folder):
        for path in (entry, *entry.rglob("*")):
            assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path


def test_a_broken_line_of_jsonl_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a", "label": "b"}\n{oops\n')
    with pytest.raises(DataError, match=r"a\.jsonl, line 2, is not JSON"):
        load(str(tmp_path / "a.jsonl"))


@pytest.mark.parametrize(
    ("corpus", "message"),
    [("docstring", "did you mean 'docstrings'"), ("agnews", "did you mean 'ag_news'"), ("x.csv", "--data.train_file")],
)
def test_an_unknown_corpus_names_the_nearest(corpus, message, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "x.csv", table())
    with pytest.raises(DataError, match=message):
        prepare(DataConfig(corpus=corpus))


def test_real_corpora_keep_their_official_evaluation_rows(corpora_folder: Path) -> None:
    corpus = prepare(DataConfig(corpus=str(corpora_folder / "trec")))
    assert len(corpus.splits["test"]) == 500
    assert corpus.report["duplicates"]["train_copies_of_test"] > 0
    assert not set(corpus.splits["train"]["text"][:]) & set(corpus.splits["test"]["text"][:])


def test_no_row_of_a_cut_validation_split_nearly_repeats_a_given_test_row(tmp_path: Path) -> None:
    words = [f"w{number}" for number in range(400)]
    texts = [" ".join(words[4 * n : 4 * n + 4] * 3 + [f"unique{n}"]) for n in range(90)]
    frame = pd.DataFrame({"text": texts, "label": [CLASSES[n % 3] for n in range(90)]})
    test = frame.iloc[:30].assign(text=[f"{text} more" for text in frame["text"][:30]])  # near copies of 30 rows
    paths = [write(tmp_path / name, rows) for name, rows in (("train.csv", frame), ("test.csv", test))]
    corpus = load(paths[0], test_file=paths[1], near_duplicate_threshold=0.7, validation_fraction=0.3)
    left = [text for name in ("train", "validation") for text in corpus.splits[name]["text"][:]]
    assert sorted(left) == sorted(texts[30:])
    assert corpus.report["near_duplicates"]["train_near_copies_of_test"] == 30
