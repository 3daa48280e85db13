"""Memory that a process owns hardly grows with rows: what grows lies in mapped files."""

from pathlib import Path

import pandas as pd
import pytest

from experiments import benchmark
from experiments.benchmarking import row_memory
from experiments.benchmarking.generated_rows import write_rows
from experiments.benchmarking.row_memory import fill_cache, peak_of, run_on

needs_linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell memory")


def test_generated_rows_are_as_many_as_asked_and_distinct(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.benchmarking.generated_rows.PIECE", 300)
    rows = pd.read_parquet(write_rows(tmp_path / "rows.parquet", 1000, seed=0))
    assert len(rows) == 1000 and rows["label"].nunique() == 5
    assert rows["text"].nunique() > 990


@needs_linux
def test_preparing_takes_less_than_a_kibibyte_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows as Python objects took 4.7 KiB each; the slope is asked, as libraries take most of the rest."""
    monkeypatch.setattr(row_memory, "EVALUATION_ROWS", 200)
    anonymous = {}
    for rows in (25_000, 75_000):  # both more than the piece that is held in memory at a time
        folder = tmp_path / str(rows)
        folder.mkdir()
        anonymous[rows] = peak_of(fill_cache, run_on(folder, rows), folder).anonymous
    assert (anonymous[75_000] - anonymous[25_000]) * 1024 / 50_000 < 1


def test_too_few_rows_are_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        benchmark.main(["--memory_rows", "[10]"])
    assert ending.value.code == 2
    assert "--memory_rows has 10; it must be at least 1000" in capsys.readouterr().err
