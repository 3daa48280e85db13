"""Memory that a process owns hardly grows with rows: what grows lies in mapped files."""

import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from tiny_runs import tiny_run

from experiments.benchmark import __main__ as command
from experiments.benchmark import memory
from experiments.benchmark.memory import fill_cache, peak_memory, peak_memory_of, peak_of, run_on, write_rows
from experiments.benchmark.table import read_measurements
from experiments.errors import ExperimentError
from experiments.planning.run_config import RunConfig

needs_linux = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="what is tested is the reading of Linux's /proc/self/status"
)


def test_generated_rows_are_as_many_as_asked_and_distinct(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.benchmark.memory.PIECE", 300)
    rows = pd.read_parquet(write_rows(tmp_path / "rows.parquet", 1000, seed=0))
    assert len(rows) == 1000 and rows["label"].nunique() == 5
    assert rows["text"].nunique() > 990


@needs_linux
def test_preparing_takes_less_than_a_kibibyte_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows as Python objects took 4.7 KiB each; the slope is asked, as libraries take most of the rest."""
    monkeypatch.setattr(memory, "EVALUATION_ROWS", 200)
    anonymous = {}
    for rows in (25_000, 75_000):  # both more than the piece that is held in memory at a time
        folder = tmp_path / str(rows)
        folder.mkdir()
        anonymous[rows] = peak_of(fill_cache, run_on(folder, rows), folder).anonymous
    assert (anonymous[75_000] - anonymous[25_000]) * 1024 / 50_000 < 1


def test_peak_memory_is_read_from_linux_or_else_from_the_c_library(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmHWM:\t  204800 kB\nVmRSS:\t 1024 kB\n")
    assert peak_memory(status) == 200.0
    assert peak_memory(tmp_path / "absent") > 50


def test_the_memory_of_a_side_does_not_count_that_of_the_process_that_asks(tmp_path: Path) -> None:
    config = tiny_run(tmp_path, stage="tune").config
    ballast = torch.ones(200 * 2**20, dtype=torch.float32)  # 800 MiB
    ours = peak_memory()
    del ballast
    assert 100 < peak_memory_of("plain", config) < ours


def test_a_system_without_either_source_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    with pytest.raises(ExperimentError, match="--memory false"):
        peak_memory(tmp_path / "absent")


def test_both_parts_are_measured_and_stand_in_table_and_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    peaks = {"preparing": memory.Peak(309.4, 219.2, 68.0), "training": memory.Peak(763.0, 550.4, 62.6)}
    monkeypatch.setattr("experiments.benchmark.measure.measure_rows", lambda rows, folder: (RunConfig(), peaks))
    command.main(["--memory_rows", "[200000]", "--results", str(tmp_path)])
    rows = read_measurements(tmp_path / "benchmark")
    assert list(zip(rows["value"], rows["side"], rows["peak_memory_mib"], rows["anonymous_mib"], strict=True)) == [
        ("200000", "preparing", 309.4, 219.2),
        ("200000", "training", 763.0, 550.4),
    ]
    page = (tmp_path / "benchmark" / "benchmark.md").read_text(encoding="utf-8")
    assert "| 200000 | preparing | 309 | 219 | 68 |" in page and "| 200000 | training | 763 | 550 | 63 |" in page
