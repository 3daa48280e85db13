"""Curves survive any number of interruptions, each point once."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from experiments.runs.single import prepend_curves, set_curves_aside


def write_curves(folder: Path, *steps: int) -> None:
    """As Lightning does when it starts: whatever was there is gone."""
    lines = [f"{step},{step / 10}," for step in steps] + [f"{steps[-1]},,0.5"]
    (folder / "metrics.csv").write_text("\n".join(["step,train/loss,validation/macro_f1", *lines]) + "\n")


def points(folder: Path) -> list[tuple[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [(row["step"], row["train/loss"] or row["validation/macro_f1"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("ended_while_joining", [False, True])
def test_points_from_before_two_kills_are_all_there_once(tmp_path: Path, ended_while_joining: bool) -> None:
    write_curves(tmp_path, 0, 1, 2, 3)
    set_curves_aside(tmp_path, step=3)
    write_curves(tmp_path, 3, 4, 5)  # killed
    set_curves_aside(tmp_path, step=5)
    write_curves(tmp_path, 5, 6)
    if ended_while_joining:
        shutil.copy(tmp_path / "metrics.earlier.csv", tmp_path / "copy.csv")
        prepend_curves(tmp_path)
        (tmp_path / "copy.csv").rename(tmp_path / "metrics.earlier.csv")
    prepend_curves(tmp_path)
    assert points(tmp_path) == [*((str(n), str(n / 10)) for n in range(7)), ("6", "0.5")]
    assert not (tmp_path / "metrics.earlier.csv").exists()


def test_a_run_that_never_went_on_keeps_its_file_as_it_is(tmp_path: Path) -> None:
    write_curves(tmp_path, 0, 1)
    before = (tmp_path / "metrics.csv").read_bytes()
    prepend_curves(tmp_path)
    assert (tmp_path / "metrics.csv").read_bytes() == before
