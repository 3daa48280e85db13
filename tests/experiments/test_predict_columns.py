"""`predict` returns a user's other columns as they were, whatever the format, its encoding and its compression."""

from __future__ import annotations

import bz2
import csv
import datetime
import gzip
import io
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from experiments import predict
from experiments.runs.inference import ClassAnswers

Fail = Callable[..., str]
WORDS = ["one text", '"quoted" start', "naïve 文", "007", "NA", "", "x,y;z"]


@pytest.fixture(autouse=True)
def answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Stand in for a trained model: the class of a text is whether it is long. Returns the texts that were asked."""
    asked: list[str] = []

    def answer(folder: Path, texts: list[str]) -> ClassAnswers:
        asked.extend(texts)
        long = np.array([len(text) > 5 for text in texts], dtype=np.float32)
        return ClassAnswers(("short", "long"), np.stack([1 - long, long], axis=1))

    monkeypatch.setattr(predict, "load_and_answer", answer)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    return asked


def run(folder: Path, source: str, target: str, *more: str) -> Path:
    predict.main([str(folder / "run"), "--file", str(folder / source), "--output", str(folder / target), *more])
    return folder / target


def test_a_csv_file_comes_back_cell_by_cell(tmp_path: Path, answers: list[str]) -> None:
    rows = [{"text": word, "id": f"00{n}", "note": f'line\n"{n}"'} for n, word in enumerate(WORDS)]
    with (tmp_path / "in.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["text", "id", "note"])
        writer.writeheader()
        writer.writerows(rows)
    with run(tmp_path, "in.csv", "out.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [{name: row[name] for name in rows[0]} for row in found] == rows
    assert answers == WORDS
    assert [row["predicted"] for row in found] == ["long" if len(word) > 5 else "short" for word in WORDS]


def test_the_marks_of_a_tsv_file_stay_marks(tmp_path: Path) -> None:
    lines = ["id\ttext", *(f'"{n}\t{word}' for n, word in enumerate(WORDS) if word)]
    (tmp_path / "in.tsv").write_text("\n".join(lines) + "\n")
    found = run(tmp_path, "in.tsv", "out.tsv").read_text().splitlines()
    assert ["\t".join(line.split("\t")[:2]) for line in found] == lines


def test_json_keeps_types_digits_gaps_and_nested_values(tmp_path: Path, answers: list[str]) -> None:
    rows: list[dict[str, Any]] = [
        {"text": "first", "number": 0.1234567890123456, "whole": 2**60, "yes": True},
        {"text": "second one", "nothing": None, "list": [1, [2.5, "x"]], "object": {"a": {"b": [1]}}},
        {"text": "half \ud83d", "whole": 1, "date": "2024-01-01", "number": 3},
        {"number": 1e-300, "yes": False},
    ]
    (tmp_path / "in.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    found = [json.loads(line) for line in run(tmp_path, "in.jsonl", "out.jsonl").read_text().splitlines()]
    without = [{name: value for name, value in row.items() if "pr" not in name[:2]} for row in found]
    assert without == rows
    assert [[type(value) for value in row.values()] for row in without] == [
        [type(row[name]) for name in without[n]] for n, row in enumerate(rows)
    ]
    assert answers == ["first", "second one", "half ", ""]
    assert all(row.keys() >= {"predicted", "probability_short", "probability_long"} for row in found)


def test_parquet_keeps_every_type_and_the_index(tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": pa.array(["a", None, "long enough"], pa.large_string()),
            "small": pa.array([1, None, 3], pa.int8()),
            "when": pa.array([datetime.datetime(2024, 1, 1), None, None], pa.timestamp("ns", tz="UTC")),
            "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
            "parts": pa.array([[1, 2], [], None], pa.list_(pa.int16())),
            "price": pa.array([None, 1, 2], pa.decimal128(7, 2)),
            "__index_level_0__": pa.array([7, 8, 9]),
        }
    )
    parquet.write_table(table, tmp_path / "in.parquet")
    found = parquet.read_table(run(tmp_path, "in.parquet", "out.parquet"))
    assert found.select(table.column_names).equals(table)
    assert found.select(table.column_names).schema == table.schema
    assert found["predicted"].to_pylist() == ["short", "short", "long"]


def test_a_row_of_parquet_is_readable_json(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": ["a", "b"], "when": pd.to_datetime(["2024-01-01", "2024-02-03"]), "n": [1, 2]})
    frame.assign(parts=[[1, 2], [3]]).to_parquet(tmp_path / "in.parquet")
    first = json.loads(run(tmp_path, "in.parquet", "out.jsonl").read_text().splitlines()[0])
    assert (first["when"], first["n"], first["parts"]) == ("2024-01-01T00:00:00", 1, [1, 2])


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16", "utf-8-sig"])
def test_files_without_a_header_and_in_other_encodings_are_answered(
    encoding: str, tmp_path: Path, answers: list[str]
) -> None:
    (tmp_path / "in.csv").write_text("7,文字\n8,更多的文字在这里\n", encoding=encoding)
    out = run(tmp_path, "in.csv", "out.csv", "--encoding", encoding, "--columns", "[id,text]")
    assert answers == ["文字", "更多的文字在这里"]
    assert pd.read_csv(out)[["id", "text"]].to_dict("list") == {"id": [7, 8], "text": answers}


@pytest.mark.parametrize(("ending", "module"), [("gz", gzip), ("bz2", bz2), ("xz", lzma)])
def test_compressed_files_come_and_go(ending: str, module: Any, tmp_path: Path) -> None:
    (tmp_path / f"in.csv.{ending}").write_bytes(module.compress(b"text,id\na text,1\n"))
    out = run(tmp_path, f"in.csv.{ending}", f"out.tsv.{ending}")
    found = pd.read_csv(io.BytesIO(module.decompress(out.read_bytes())), sep="\t")
    assert found.loc[0, ["text", "id", "predicted"]].tolist() == ["a text", 1, "long"]


def test_an_output_is_whole_or_the_file_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in.csv").write_text("text\na\n")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("experiments.runs.run_folder.os.fsync", full)
    with pytest.raises(SystemExit):
        run(tmp_path, "in.csv", "in.csv")
    assert (tmp_path / "in.csv").read_text() == "text\na\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "run"]


def test_options_that_do_not_fit_are_refused(tmp_path: Path, fails_with_one_line: Fail) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "in.csv").write_text("text,predicted\na,b\n")
    base = [tmp_path / "run", "--file"]
    columns = fails_with_one_line(predict.main, *base, tmp_path / "in.jsonl", "--columns", "[text]")
    assert "--columns names the columns of csv and tsv files" in columns
    assert "'predicted' already" in fails_with_one_line(predict.main, *base, tmp_path / "in.csv")
    target = ["--output", tmp_path / "out.jsonl.zip"]
    assert "not written" in fails_with_one_line(predict.main, *base, tmp_path / "in.jsonl", *target)


def test_the_texts_of_class_folders_are_answered_by_their_names(tmp_path: Path) -> None:
    for place, text in {"pos/1.txt": "good", "neg/2.txt": "bad", "neg/deep/3": "worse"}.items():
        (tmp_path / "texts" / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "texts" / place).write_text(text)
    table = pd.read_csv(run(tmp_path, "texts", "answers.csv"))
    assert table["file"].tolist() == ["neg/2.txt", "neg/deep/3", "pos/1.txt"]
    assert list(table.columns[:2]) == ["file", "predicted"]


@pytest.mark.parametrize(("name", "reason"), [(".none", "holds no text"), ("rows.csv", "holds the table rows.csv")])
def test_a_folder_without_texts_is_one_line(name: str, reason: str, tmp_path: Path, fails_with_one_line: Fail) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / name).write_text("text\na\n")
    assert reason in fails_with_one_line(predict.main, tmp_path / "run", "--file", tmp_path / "texts")
