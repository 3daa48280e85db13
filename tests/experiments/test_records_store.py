"""Evidence is merged from local and committed records; what cannot share a table is left out or refused."""

from __future__ import annotations

import gzip
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from synthetic_records import (
    CLASSES,
    LABELS,
    ROWS,
    make_record,
    make_records,
    predict,
    write_predictions,
    write_run,
    write_runs,
)

from experiments.errors import RecordError
from experiments.runs.merging import merge_records
from experiments.runs.predictions import disagreements
from experiments.runs.record import Outcome, Record
from experiments.runs.store import RECORDS_FILE, Evidence, local_records

SEVERAL = ("post_ln", "pre_ln")


def with_fingerprint(record: Record, fingerprint: str) -> Record:
    return replace(record, data={**record.data, "fingerprint": fingerprint})


def with_width(record: Record, width: int) -> Record:
    model = {**record.config["model"], "width": width}
    return replace(record, config={**record.config, "model": model}, config_hash=f"{record.config_hash}{width}")


def names(records: list[Record]) -> list[tuple[str, int]]:
    return [(record.condition, record.seed) for record in records]


def gathered(folder: Path) -> Evidence:
    return Evidence.gather(write_runs(folder / "runs"), folder / "committed")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_run_is_gathered_in_a_fixed_order(tmp_path: Path) -> None:
    evidence = gathered(tmp_path)
    assert len(evidence.finals) == 16
    assert len(evidence.trials) == 6
    keys = [(record.stage, record.condition, str(record.tuned), record.seed) for record in evidence.records]
    assert keys == sorted(keys)
    assert evidence.notes == []


def test_predictions_are_one_column_per_final_run_that_has_scores(tmp_path: Path) -> None:
    predictions = gathered(tmp_path).predictions
    assert list(predictions.columns[:3]) == ["row", "group", "label"]
    assert len(predictions) == ROWS
    assert predictions["label"].tolist() == LABELS.tolist()
    assert predictions["post_ln/default/seed_1"].tolist() == predict(0.80, 1).tolist()
    assert "no_norm/default/seed_2" not in predictions.columns, "a diverged run predicts nothing"
    assert predictions.shape[1] == 3 + 15


def test_predictions_are_joined_by_row_whatever_the_order_of_a_file(tmp_path: Path) -> None:
    runs = write_runs(tmp_path / "runs", [make_record("post_ln", seed) for seed in (0, 1)])
    before = Evidence.gather(runs, tmp_path / "none").predictions
    folder = next(runs.glob("*/*/seed_1"))
    write_predictions(folder, pd.read_parquet(folder / "predictions.parquet").iloc[::-1])
    pd.testing.assert_frame_equal(Evidence.gather(runs, tmp_path / "none").predictions, before)


def test_committed_evidence_alone_gives_the_same_bytes_again(tmp_path: Path) -> None:
    gathered(tmp_path).save(tmp_path / "first")
    Evidence.gather(tmp_path / "nothing", tmp_path / "first").save(tmp_path / "second")
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
    assert set(contents(tmp_path / "first")) == {"records.jsonl.gz", "predictions.parquet", "timing.csv"}


def test_no_path_of_the_machine_is_committed(tmp_path: Path) -> None:
    gathered(tmp_path).save(tmp_path / "saved")
    text = gzip.decompress((tmp_path / "saved" / RECORDS_FILE).read_bytes()).decode()
    assert "/elsewhere" not in text
    assert '"corpus":"toycorpus"' in text


def test_a_local_run_stands_in_for_the_committed_one_and_others_are_kept(tmp_path: Path) -> None:
    old = [make_record("post_ln", seed) for seed in (0, 1)]
    write_runs(tmp_path / "old", old)
    Evidence.gather(tmp_path / "old", tmp_path / "none").save(tmp_path / "committed")
    again = replace(old[1], progress={"steps": 999})
    write_runs(tmp_path / "new", [again, make_record("post_ln", 2)])
    evidence = Evidence.gather(tmp_path / "new", tmp_path / "committed")
    assert names(evidence.records) == [("post_ln", 0), ("post_ln", 1), ("post_ln", 2)]
    assert [record.progress["steps"] for record in evidence.records] == [200, 999, 200]
    assert list(evidence.predictions.columns[3:]) == [f"post_ln/default/seed_{seed}" for seed in (0, 1, 2)]
    assert evidence.timings["seconds"].tolist() == ["10.5", "11.5", "12.5"]


def test_a_local_failure_takes_nothing_from_the_committed_run(tmp_path: Path) -> None:
    write_runs(tmp_path / "old", [make_record("post_ln", 0)])
    Evidence.gather(tmp_path / "old", tmp_path / "none").save(tmp_path / "committed")
    before = contents(tmp_path / "committed")
    failed = replace(make_record("post_ln", 0), outcome=Outcome(status="failed", step=0, reason="x"))
    folder = write_runs(tmp_path / "new", [failed])
    for left in [*folder.rglob("predictions.parquet"), *folder.rglob("timing.csv")]:
        left.unlink()
    Evidence.gather(folder, tmp_path / "committed").save(tmp_path / "committed")
    assert contents(tmp_path / "committed") == before


def test_committed_records_of_other_data_are_left_out_and_counted() -> None:
    local = [make_record("post_ln", 0)]
    committed = [with_fingerprint(make_record("post_ln", seed), "old") for seed in (1, 2)]
    records, notes = merge_records(local, committed)
    assert names(records) == [("post_ln", 0)]
    assert notes == ["2 committed record(s) left out: their data have another fingerprint than the local runs'"]


@pytest.mark.parametrize("where", ["local", "committed"])
def test_records_of_different_data_never_share_a_table(where: str) -> None:
    mixed = [make_record("post_ln", 0), with_fingerprint(make_record("pre_ln", 0), "0ther")]
    with pytest.raises(RecordError, match=r"different data.*0ther \(1 runs, such as pre_ln/default/seed_0\).*f00d"):
        merge_records(*((mixed, []) if where == "local" else ([], mixed)))


def with_split(record: Record, digest: str, **settings: Any) -> Record:
    """Return a record whose splits hold other rows and, where settings are given, were made by other rules."""
    config = {**record.config, "data": {**record.config["data"], **settings}}
    return replace(record, config=config, data={**record.data, "split_hash": digest})


def test_committed_records_of_other_splits_of_the_same_text_are_left_out_and_counted() -> None:
    committed = [with_split(make_record("post_ln", seed), "old") for seed in (1, 2)]
    records, notes = merge_records([make_record("post_ln", 0)], committed)
    assert names(records) == [("post_ln", 0)]
    assert notes == ["2 committed record(s) left out: their splits hold other rows than the local runs'"]


def test_other_splits_of_a_text_share_a_table_only_where_their_settings_differ() -> None:
    one, other = make_record("post_ln", 0), make_record("pre_ln", 0)
    with pytest.raises(RecordError, match=r"post_ln/default/seed_0 and pre_ln/default/seed_0 .*different rows"):
        merge_records([one, with_split(other, "cut otherwise")], [])
    records, _ = merge_records([one, with_split(other, "cut otherwise", split_seed=1)], [])
    assert len(records) == 2


def test_committed_records_of_a_row_give_way_to_local_ones_with_other_settings() -> None:
    local = [with_width(make_record("post_ln", 0), 32)]
    committed = [make_record(condition, seed) for condition in SEVERAL for seed in (0, 1)]
    records, notes = merge_records(local, committed)
    assert names(records) == [("post_ln", 0), ("pre_ln", 0), ("pre_ln", 1)]
    assert notes == ["2 committed record(s) left out: local runs of the same cell have other settings"]


def test_runs_with_different_settings_never_share_a_row() -> None:
    with pytest.raises(RecordError, match="one row of the table but were made with different settings"):
        merge_records([make_record("post_ln", 0), with_width(make_record("post_ln", 1), 32)], [])


def test_records_outside_a_plan_are_left_out_when_a_plan_is_given() -> None:
    inside, outside = make_record("post_ln", 0), with_width(make_record("post_ln", 1), 32)
    records, notes = merge_records([inside, outside], [], wanted={inside.config_hash})
    assert records == [inside]
    assert notes == ["1 local record(s) left out: the plan has no such run"]


def test_a_damaged_local_record_is_reported_and_the_others_are_kept(tmp_path: Path) -> None:
    write_runs(tmp_path, [make_record("post_ln", 0)])
    damaged = write_run(tmp_path, make_record("post_ln", 1)) / "run.json"
    damaged.write_bytes(damaged.read_bytes()[:200])
    records, problems = local_records(tmp_path)
    assert names(list(records.values())) == [("post_ln", 0)]
    assert len(problems) == 1
    assert str(damaged) in problems[0]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"not gzip", id="not gzip"),
        pytest.param(gzip.compress(b'{"schema": 1\n'), id="not JSON"),
        pytest.param(gzip.compress(b"x" * 999)[:20], id="cut off"),
    ],
)
def test_a_damaged_committed_file_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / RECORDS_FILE).write_bytes(content)
    with pytest.raises(RecordError, match=r"records\.jsonl\.gz"):
        Evidence.gather(tmp_path / "none", tmp_path)


@pytest.mark.parametrize("name", ["predictions.parquet", "timing.csv"])
def test_damaged_tables_beside_the_records_are_refused_by_name(tmp_path: Path, name: str) -> None:
    gathered(tmp_path).save(tmp_path / "saved")
    (tmp_path / "saved" / name).write_bytes(b"PAR1 no more")
    with pytest.raises(RecordError, match=name):
        Evidence.gather(tmp_path / "none", tmp_path / "saved")


def test_runs_that_scored_different_rows_are_refused(tmp_path: Path) -> None:
    write_run(tmp_path, make_record("post_ln", 0))
    folder = write_run(tmp_path, make_record("post_ln", 1))
    frame = pd.read_parquet(folder / "predictions.parquet")
    frame.loc[7, "label"] = 2
    write_predictions(folder, frame)
    with pytest.raises(RecordError, match="disagree on the label or group of test row 7"):
        Evidence.gather(tmp_path, tmp_path / "none")


def test_missing_predictions_are_noted(tmp_path: Path) -> None:
    (write_run(tmp_path, make_record("post_ln", 0)) / "predictions.parquet").unlink()
    assert Evidence.gather(tmp_path, tmp_path / "none").notes == [
        "post_ln/default/seed_0 has scores but no predictions"
    ]


def test_recorded_confusion_matrices_can_be_checked_against_the_predictions(tmp_path: Path) -> None:
    evidence = gathered(tmp_path)
    assert disagreements(evidence.finals, evidence.predictions) == []
    chosen = next(record for record in evidence.finals if record.test is not None)
    assert chosen.test is not None
    chosen.test.details["confusion"][0] = [count + 1 for count in chosen.test.details["confusion"][0]]
    assert len(disagreements(evidence.finals, evidence.predictions)) == 1
    assert len(CLASSES) == len(chosen.test.details["confusion"])


def test_answers_exchanged_within_a_class_of_a_published_table_are_seen(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "runs", make_record("post_ln", 0))
    write_predictions(folder, pd.read_parquet(folder / "predictions.parquet"))
    Evidence.gather(tmp_path / "runs", tmp_path / "none").save(tmp_path / "table")
    path = tmp_path / "table" / "predictions.parquet"
    table = pd.read_parquet(path)
    of_class = table[table["label"] == 0]
    name = "post_ln/default/seed_0"
    one, other = of_class.index[of_class[name] == 0][0], of_class.index[of_class[name] != 0][0]
    table.loc[[one, other], name] = table.loc[[other, one], name].to_numpy()
    table.to_parquet(path)
    with pytest.raises(RecordError, match="not those that its record names"):
        Evidence.gather(tmp_path / "none", tmp_path / "table")


def test_reading_records_imports_no_heavy_library(tmp_path: Path) -> None:
    write_runs(tmp_path, make_records()[:2])
    code = (
        "import sys; from pathlib import Path; from experiments.runs.store import local_records; "
        f"assert len(local_records(Path({str(tmp_path)!r}))[0]) == 2; "
        "print([name for name in ('torch', 'pandas', 'matplotlib', 'scipy', 'pyarrow') if name in sys.modules])"
    )
    done: Any = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_run_that_an_error_stopped_stands_in_no_table() -> None:
    good = make_record("pre_ln", 0)
    failed = replace(
        make_record("pre_ln", 1), data={"slug": "toy"}, outcome=Outcome(status="failed", step=0, reason="x")
    )
    records, notes = merge_records([good, failed], [])
    assert records == [good]
    assert any("error stopped" in note for note in notes)
