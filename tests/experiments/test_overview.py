"""A plan's times come from runs of like size, and not from moments."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_records import make_record

from experiments.making.overview import Speed, measured_speeds, speed_for
from experiments.runs.folder import write_record
from experiments.runs.timings import TIMING_FILE


def test_only_runs_of_like_size_tell_a_speed() -> None:
    speeds = [Speed(1e6, 1e9), Speed(2e6, 3e9), Speed(3e6, 5e9), Speed(1e3, 1e6)]
    assert speed_for(2e6, speeds) == 3e9
    assert speed_for(1e3, speeds) == 1e6
    assert speed_for(1e9, speeds) is None and speed_for(1e6, []) is None


@pytest.mark.parametrize(("seconds", "expected"), [("20", [Speed(500.0, 500.0 * 4000 / 20)]), ("0.5", [])])
def test_a_speed_is_arithmetic_over_training_seconds_and_moments_do_not_count(
    seconds: str, expected: list[Speed], tmp_path: Path
) -> None:
    record = make_record("pre_ln", 0)
    record.model["flops_per_token"], record.progress["tokens_seen"] = 500.0, 4000
    folder = tmp_path / "runs" / "toy" / "toycorpus" / "pre_ln" / "default" / "seed_0"
    write_record(folder, record)
    (folder / TIMING_FILE).write_text(f"training_seconds\n{seconds}\n")
    assert measured_speeds(tmp_path) == expected
