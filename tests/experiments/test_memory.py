"""The peak memory of one run, not of the process that made it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_runs import make, tiny_run

from experiments.runs import execute
from experiments.runs.execute import forget_peak_memory, peak_memory_mib

needs_linux = pytest.mark.skipif(not execute.RESET.exists(), reason="what is tested is Linux's /proc/self/clear_refs")


def hold(mebibytes: int) -> None:
    """Take memory, touch every page of it, and give it back."""
    np.ones(mebibytes * 2**20, dtype=np.uint8)


@needs_linux
def test_a_peak_is_forgotten_and_the_next_one_is_its_own() -> None:
    assert forget_peak_memory()
    before = peak_memory_mib()
    hold(300)
    high = peak_memory_mib()
    assert forget_peak_memory()
    after = peak_memory_mib()
    assert before is not None and high is not None and after is not None
    assert high >= before + 290
    assert after <= high - 250


@needs_linux
def test_a_run_does_not_inherit_the_peak_of_what_came_before(tmp_path: Path) -> None:
    forget_peak_memory()
    hold(1500)
    peak = peak_memory_mib()
    timing = pd.read_csv(make(tiny_run(tmp_path / "cache"), tmp_path) / "timing.csv")
    assert peak is not None and 50 < timing["peak_memory_mib"].item() < peak - 300


def test_where_it_cannot_be_measured_the_cell_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "RESET", tmp_path / "absent" / "clear_refs")
    timing = pd.read_csv(make(tiny_run(tmp_path / "cache"), tmp_path) / "timing.csv")
    assert timing["peak_memory_mib"].isna().all() and timing["seconds"].item() > 0
    monkeypatch.setattr(execute, "STATUS", tmp_path / "absent")
    assert peak_memory_mib() is None
