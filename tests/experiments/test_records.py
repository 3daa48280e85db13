"""A record is one line of JSON that reads back as itself, or is refused with one readable sentence."""

from __future__ import annotations

import errno
import gzip
import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from synthetic_records import make_record

from experiments.errors import RecordError
from experiments.paths import RESULTS
from experiments.runs.canonical import finite_or_none, five_digits
from experiments.runs.naming import cell_name, order_conditions, run_name
from experiments.runs.record import Outcome, Record, Scores, digest_of
from experiments.runs.run_folder import read_record, write_record

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
MAPPING = st.dictionaries(st.text(max_size=8), PLAIN, max_size=4)


@given(config=MAPPING, history=MAPPING, swept=MAPPING, seed=st.integers(0, 2**31), reason=st.text())
@settings(max_examples=60, deadline=None)
def test_a_record_reads_back_as_itself(
    config: dict[str, Any], history: dict[str, Any], swept: dict[str, Any], seed: int, reason: str
) -> None:
    record = replace(
        make_record("pre_ln", 0),
        config=config,
        history=history,
        swept=swept,
        seed=seed,
        outcome=Outcome(status="failed", step=3, reason=reason),
    )
    text = record.to_json()
    assert "\n" not in text
    assert Record.from_json(text) == record
    assert Record.from_json(text).to_json() == text


def test_the_order_of_keys_does_not_change_the_text() -> None:
    record = make_record("post_ln", 1)
    turned = replace(record, config=dict(reversed(record.config.items())))
    assert turned.to_json() == record.to_json()
    assert list(json.loads(record.to_json())) == sorted(json.loads(record.to_json()))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_refused_by_the_name_of_its_place(value: float) -> None:
    record = replace(make_record("post_ln", 0), history={"train": {"loss": [1.0, value]}})
    with pytest.raises(RecordError, match=r"history\.train\.loss\[1\] is not a finite number"):
        record.to_json()
    assert finite_or_none(record.history) == {"train": {"loss": [1.0, None]}}


@given(length=st.integers(0, 400))
@settings(max_examples=40, deadline=None)
def test_a_truncated_record_is_refused_with_the_name_of_its_file(length: int) -> None:
    text = make_record("post_ln", 0).to_json()
    with pytest.raises(RecordError, match=r"^somewhere/run\.json is not a valid record"):
        Record.from_json(text[: len(text) * length // 401], origin="somewhere/run.json")


def changed(**changes: Any) -> str:
    content = json.loads(make_record("post_ln", 0).to_json())
    for name, value in changes.items():
        if value is ...:
            del content[name]
        else:
            content[name] = value
    return signed(content)


def signed(content: dict[str, Any]) -> str:
    """Return changed content with the digest that fits it, as whoever means to deceive would."""
    content.pop("digest", None)
    return json.dumps(content | {"digest": digest_of(content)})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (changed(schema=3), "has schema 3"),
        (changed(seed="0"), "field seed holds '0'"),
        (changed(seed=True), "field seed holds True"),
        (changed(stage="rehearsal"), "field stage holds 'rehearsal'"),
        (changed(config_hash=...), "field config_hash is missing"),
        (changed(mood="good"), "field mood is not known"),
        (changed(outcome={"status": "won", "step": 1}), r"field outcome\.status holds 'won'"),
        (changed(outcome=[]), r"field outcome holds \[\]"),
        ("[]", "schema None"),
        ('{"schema": 1, "x": NaN}', "NaN"),
        ('{"schema": 1, "x": 1e999}', "x is not a finite number"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_not_a_record_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(RecordError, match=complaint):
        Record.from_json(text)


def test_scores_that_cannot_be_are_refused() -> None:
    content = json.loads(make_record("post_ln", 0).to_json())
    metrics, details = content["scores"]["test"]["metrics"], content["scores"]["test"]["details"]
    right = metrics["macro_f1"]
    metrics["macro_f1"] = 1.2
    with pytest.raises(RecordError, match=r"scores on test cannot be: macro_f1 is 1\.2; it must lie between 0 and 1"):
        Record.from_json(signed(content))
    metrics["macro_f1"] = 0.999
    with pytest.raises(RecordError, match=r"macro_f1 is 0\.999, and the confusion matrix gives"):
        Record.from_json(signed(content))
    metrics["macro_f1"] = right
    details["per_class"][1]["recall"] = 0.5
    with pytest.raises(RecordError, match=r"recall of class 'numpy' is 0\.5, and the confusion matrix gives"):
        Record.from_json(signed(content))
    details["confusion"] = [[1, 2], [3, 4]]
    with pytest.raises(RecordError, match="confusion matrix is not 3 × 3"):
        Record.from_json(signed(content))


TEXT = make_record("post_ln", 0).to_json()


@given(place=st.integers(0, 10_000), bit=st.integers(0, 6))
@example(place=7033, bit=0)  # 0.9416666666666667 becomes 0.9416666666666666, which is the same double
@settings(max_examples=200, deadline=None)
def test_a_flipped_bit_is_noticed_unless_the_record_is_the_same(place: int, bit: int) -> None:
    content = bytearray(TEXT.encode())
    content[place % len(content)] ^= 1 << bit
    try:
        read = Record.from_json(content.decode())
    except (RecordError, UnicodeDecodeError):
        return
    assert read == Record.from_json(TEXT) and json.loads(content) == json.loads(TEXT)


def test_records_of_schema_1_are_read_and_written_back_unchanged() -> None:
    with gzip.open(RESULTS / "quick" / "docstrings" / "records.jsonl.gz", "rt", encoding="utf-8") as file:
        lines = [line.rstrip("\n") for line in file]
    assert lines
    for line in lines:
        record, old = Record.from_json(line), json.loads(line)
        assert (record.schema, record.task) == (1, "classification")
        assert record.to_json() == line
        assert record.score("validation", "macro_f1") == old["validation"]["macro_f1"]
        assert record.score("test_last", "loss") == (old["test_last"]["loss"] if old["test_last"] else None)
        assert record.test is None or record.test.details["confusion"] == old["test"]["confusion"]


def test_a_record_of_a_task_that_this_version_does_not_know_is_read() -> None:
    record = replace(make_record("post_ln", 0), task="translation", scores={"test": Scores(metrics={"bleu": 31.5})})
    assert Record.from_json(record.to_json()).score("test", "bleu") == 31.5


def test_a_record_is_written_and_read_in_a_run_folder(tmp_path: Path) -> None:
    record = make_record("post_ln", 0)
    path = write_record(tmp_path / "a" / "b", record)
    assert path.name == "run.json"
    assert read_record(path.parent) == record
    assert [entry.name for entry in path.parent.iterdir()] == ["run.json"]


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_full_disk_gives_one_sentence_and_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    before = make_record("post_ln", 0)
    write_record(tmp_path, before)

    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*(("os.fsync", fail) if moment == "fsync" else (Path, "replace", fail)))
    with pytest.raises(RecordError, match=r"run\.json cannot be written: No space left on device"):
        write_record(tmp_path, make_record("post_ln", 1))
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.json"]
    assert read_record(tmp_path) == before


def test_a_missing_or_binary_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"run\.json cannot be read"):
        read_record(tmp_path)
    (tmp_path / "run.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecordError, match=r"run\.json is damaged: it is not UTF-8"):
        read_record(tmp_path)


@pytest.mark.parametrize(
    ("swept", "tuned", "stage", "name"),
    [
        ({}, {}, "final", "default"),
        ({"model.layers": 6}, {"model.learning_rate": 1e-3}, "final", "layers=6"),
        ({"model.layers": 6}, {"model.learning_rate": 1e-3}, "tune", "tune,layers=6,learning_rate=0.001"),
        ({}, {"model.warmup_fraction": 0.0}, "tune", "tune,warmup_fraction=0"),
        ({}, {}, "tune", "tune,default"),
        ({"model.seed": 1, "data.seed": 2}, {}, "final", "data.seed=2,model.seed=1"),
        ({"data.max_train_rows": None, "data.clean": True}, {}, "final", "clean=true,max_train_rows=none"),
    ],
)
def test_a_cell_is_named_after_its_values(swept: dict[str, Any], tuned: dict[str, Any], stage: str, name: str) -> None:
    assert cell_name(swept, tuned, stage) == name


@given(values=st.dictionaries(st.text(min_size=1, max_size=12), st.text() | st.floats(allow_nan=False), max_size=5))
def test_a_cell_is_always_one_folder_name(values: dict[str, Any]) -> None:
    name = cell_name(values, {}, "final")
    assert Path(name).name == name
    assert name not in (".", "..")
    assert len(name.encode()) < 200
    assert "\x00" not in name


def test_values_that_a_folder_name_cannot_tell_apart_get_different_cells() -> None:
    corpora = ["a/b", "a-b", "a b", "a:b"]
    assert len({cell_name({"data.corpus": corpus}, {}, "final") for corpus in corpora}) == len(corpora)


def test_a_run_is_named_by_condition_cell_and_seed() -> None:
    assert run_name(make_record("post_ln", 3, swept={"model.layers": 6})) == "post_ln/layers=6/seed_3"


def test_conditions_stand_in_the_order_of_the_grid_with_baselines_last() -> None:
    names = ["tfidf_logistic_regression", "plain", "bag_of_embeddings", "zebra", "post_ln", "pre_ln"]
    assert order_conditions(names, order=["pre_ln", "bag_of_embeddings"]) == [
        "pre_ln",
        "post_ln",
        "plain",
        "zebra",
        "bag_of_embeddings",
        "tfidf_logistic_regression",
    ]


@given(st.floats(-1e300, 1e300, allow_subnormal=False))
def test_a_number_of_a_curve_keeps_five_significant_digits(value: float) -> None:
    short = five_digits(value)
    assert short == pytest.approx(value, rel=5e-5, abs=0)
    assert five_digits(short) == short
    assert len(repr(abs(short)).partition("e")[0].replace(".", "").strip("0")) <= 5


def test_steps_and_what_is_missing_stay_as_they_are() -> None:
    curves = {"step": [1234567, 2**40], "loss": [1.23456789, None, 0.0], "blocks": [[1e-12, 123456.0]], "on": True}
    assert five_digits(curves) == {
        "step": [1234567, 2**40],
        "loss": [1.2346, None, 0.0],
        "blocks": [[1e-12, 123460.0]],
        "on": True,
    }
