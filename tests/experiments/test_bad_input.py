"""A user's mistake ends with one readable line, status 2 and no traceback; what was finished stays."""

import errno
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic_records import evidence_of, make_record

from experiments import ablation, corpus
from experiments.errors import RecordError
from experiments.runs.record import Record
from experiments.runs.run_folder import RECORD_FILE, write_record

TINY = ["--data.corpus", "csv", "--data.text_column", "text", "--data.label_column", "label"]
Main = Callable[[Sequence[str]], None]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNORM_CACHE", str(tmp_path / "cache"))


def complaint(capsys: pytest.CaptureFixture[str], main: Main, *arguments: str) -> str:
    """Run a command that must fail with status 2 and return its one line on standard error."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert ended.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ")
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "quik"], "'quick'"),
        (["runn", "quick"], "run"),
        (["run", "no_such.yaml"], "does not exist"),
        (["run", "quick", "--model.lay", "3"], "--model.layers"),
        (["run", "quick", "--modl.layers", "3"], "--model.layers"),
        (["run", "quick", "--model.layers", "three"], "int"),
        (["run", "quick", "--model.heads", "5"], "the nearest that does is 4"),
        (["run", "quick", "--model.optimizer", "adamx"], "adam"),
        (["run", "smoke", "--data.tokenizer", "wordpice"], "wordpiece"),
        (["run", "quick", "--data.corpus", "docstring"], "docstrings"),
        (["run", "quick", "--conditions", "[pre_nl]"], "quick.yaml has no condition 'pre_nl'; it has post_ln, pre_ln"),
        (["run", "quick", "--trainer.precision", "bf16-mixd"], "'bf16-mixed'"),
        (["run", "quick", "--seeds", "0"], "at least 1"),
        (["run", "quick", "--workers", "0"], "at least 1"),
        (["run", "quick", "--data.corpus", "csv"], "train_file"),
        (["run", "quick", "--data.train_file", "mine.tsv.gz"], "reads no file of yours; add data.corpus, tsv"),
        (["run", "quick", "--data.train_file", "mine"], "reads no file of yours; add data.corpus, one of csv, tsv"),
        (["answer", "--budget", "30m", "--data.train_file", "mine"], "add data.corpus, one of csv, tsv"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else None,
)
def test_a_wrong_option_names_the_nearest(
    arguments: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in complaint(capsys, ablation.main, *arguments, "--results", str(tmp_path))


def rows(path: Path, *lines: str) -> str:
    path.write_text("\n".join(["text,label", *lines]) + "\n", encoding="utf-8")
    return str(path)


def test_files_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(train: str, *more: str) -> str:
        return complaint(capsys, ablation.main, "run", "smoke", *TINY, "--data.train_file", train, *more)

    good = rows(tmp_path / "good.csv", *(f"words of row {n} here,{'ab'[n % 2]}" for n in range(60)))
    assert "gone.csv" in said(str(tmp_path / "gone.csv"))
    assert "label" in said(good, "--data.label_column", "labl")
    assert "no column 'author' (data.group_column)" in said(good, "--data.group_column", "author")
    (tmp_path / "semicolons.csv").write_text("text;label\na text;b\n")
    assert "in csv files commas separate the columns" in said(str(tmp_path / "semicolons.csv"))
    (tmp_path / "empty.csv").write_text("")
    assert "empty" in said(str(tmp_path / "empty.csv"))
    (tmp_path / "latin.csv").write_bytes("text,label\nd\u00e9j\u00e0 vu,a\n".encode("utf-16"))
    assert "latin.csv" in said(str(tmp_path / "latin.csv"))
    one = rows(tmp_path / "one.csv", *(f"words of row {n} here,a" for n in range(60)))
    assert "class" in said(one)
    few = rows(tmp_path / "few.csv", "one text,a", "another text,b")
    assert "too few to cut" in said(few)
    strange = rows(tmp_path / "strange.csv", "a text of an unknown class,c", "and one more of it,c")
    assert "c" in said(good, "--data.test_file", strange)


def test_results_of_other_files_of_the_same_name_are_neither_shown_nor_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = rows(tmp_path / "own.csv", *(f"words of row {n} here,{'ab'[n % 2]}" for n in range(60)))
    options = ["smoke", *TINY, "--data.train_file", train, "--results", str(tmp_path / "results")]
    write_record(tmp_path / "results" / "runs" / "smoke" / "own" / "pre_ln" / "default" / "seed_0", made_elsewhere())
    for verb in ("status", "report", "run"):
        assert "holds runs of another text" in complaint(capsys, ablation.main, verb, *options)
    shutil.rmtree(tmp_path / "results" / "runs")
    for place in ("smoke", "local/smoke"):
        tables = tmp_path / "results" / place / "own"
        evidence_of(made_elsewhere()).save(tables)
        for verb in ("status", "report", "run"):
            assert f"{tables} holds runs of another text" in complaint(capsys, ablation.main, verb, *options)
        shutil.rmtree(tables)


def made_elsewhere() -> Record:
    return replace(make_record("pre_ln", 0), grid="smoke", corpus="own")


def test_a_hub_id_without_network_says_how_to_get_the_data(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_modules.sources.hub.is_reachable", lambda: False)
    assert "hf download" in complaint(capsys, corpus.main, "describe", "--data.corpus", "nobody/no_such_data_set")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--data.tokenizer", "wordpice"], "wordpiece"),
        (["--data.tokenizer", "bpe", "--data.vocabulary_size", "100"], "bpe needs at least"),
    ],
)
def test_a_tokenizer_that_cannot_be_had_is_found_before_a_worker_starts(
    options: list[str],
    expected: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError("a worker was started")

    monkeypatch.setattr("experiments.making.engines.Pool.make_runs", forbidden)
    assert expected in complaint(capsys, ablation.main, "run", "smoke", *options, "--results", str(tmp_path))


def test_an_unwritable_results_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    occupied = tmp_path / "results"
    occupied.write_text("a file, not a folder")
    assert str(occupied) in complaint(capsys, ablation.main, "run", "smoke", "--results", str(occupied))


def test_a_report_without_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no finished run" in complaint(capsys, ablation.main, "report", "smoke", "--results", str(tmp_path))


def test_a_full_disk_leaves_no_half_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("experiments.runs.run_folder.os.fsync", full)
    with pytest.raises(RecordError, match="No space left on device"):
        write_record(tmp_path, make_record("pre_ln", 0))
    assert list(tmp_path.iterdir()) == []


def test_status_and_report_survive_a_truncated_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "runs" / "smoke" / "listops" / "pre_ln" / "default" / "seed_0"
    folder.mkdir(parents=True)
    (folder / RECORD_FILE).write_text(make_record("pre_ln", 0).to_json()[:200])
    ablation.main(["status", "smoke", "--results", str(tmp_path)])
    said = " ".join(capsys.readouterr().out.split())
    assert "not a valid record" in said and "next `run`" in said
