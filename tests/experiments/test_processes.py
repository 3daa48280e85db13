"""Two processes that train one model together by flags of the trainer end where one process alone ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_language_tasks import language_run
from tiny_runs import make, tiny_run

from experiments import train
from experiments.planning.runs import Run
from experiments.planning.yaml_files import write_yaml
from experiments.runs.run_folder import read_record

REPOSITORY = Path(__file__).parent.parent.parent
TOLERANCE = 1e-4
"""Relative difference that rounding may make: gradients are summed in another order."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose last training and evaluation batches are ragged, so that two processes cannot halve them."""
    run = tiny_run(tmp_path_factory.mktemp("cache"), evaluation_batch_size=32)
    values = {"model.dropout": 0.0, "data.listops.train_rows": 297, "data.listops.evaluation_rows": 97}
    return Run(**{**vars(run), "config": run.config.with_values(values)})


@pytest.fixture(scope="module")
def alone(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(run, tmp_path_factory.mktemp("alone"))


def together(run: Run, folder: Path, strategy: str) -> Path:
    """Train with two processes on the CPU and return the run folder, the only one there."""
    write_yaml(folder / "run.yaml", run.config.as_dict())
    flags = ["--config", str(folder / "run.yaml"), "--results", str(folder), "--trainer.enable_progress_bar", "false"]
    command = [sys.executable, "-m", "experiments.train", "fit", *flags, "--trainer.strategy", strategy]
    ended = subprocess.run(
        [*command, "--trainer.devices", "2"],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("run folder: ") == 1  # one process speaks for both
    (record,) = folder.glob("runs/*/*/*/*/*/run.json")
    return record.parent


def numbers(folder: Path) -> dict[str, Any]:
    content = json.loads(read_record(folder).to_json())
    return {name: content[name] for name in ("scores", "progress", "history", "outcome", "data")}


def close(expected: Any) -> Any:
    """Return what compares equal to the same structure with numbers within the tolerance."""
    if isinstance(expected, dict):
        return {name: close(value) for name, value in expected.items()}
    if isinstance(expected, list):
        return [close(value) for value in expected]
    return pytest.approx(expected, rel=TOLERANCE, abs=1e-6) if isinstance(expected, float) else expected


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_processes_end_with_the_numbers_of_one(run: Run, alone: Path, strategy: str, tmp_path: Path) -> None:
    folder = together(run, tmp_path, strategy)
    assert numbers(folder) == close(numbers(alone))
    predictions = pd.read_parquet(folder / "predictions.parquet")
    assert predictions["row"].tolist() == list(range(97))  # every test row once
    pd.testing.assert_frame_equal(predictions, pd.read_parquet(alone / "predictions.parquet"), rtol=1e-3, atol=1e-5)
    curves = [pd.read_csv(each / "metrics.csv").dropna(subset="validation/macro_f1") for each in (folder, alone)]
    assert curves[0]["validation/macro_f1"].tolist() == pytest.approx(curves[1]["validation/macro_f1"].tolist())
    assert len(list(folder.glob("events.out.tfevents.*"))) == len(list(alone.glob("events.out.tfevents.*")))


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_processes_end_with_the_numbers_of_one_language_model(strategy: str, tmp_path: Path) -> None:
    draw, book = np.random.default_rng(0), tmp_path / "book.txt"
    book.write_text("\n\n".join(f"the {draw.choice(['heron', 'hare'])} sees {number}" for number in range(203)))
    values = {"model.dropout": 0.0, "trainer.max_epochs": 1, "data.batch_size": 8, "data.documents_apart": True}
    run = language_run(book, tmp_path / "cache", **values)
    folder, alone = together(run, tmp_path / "two", strategy), make(run, tmp_path / "one")
    assert numbers(folder) == close(numbers(alone))
    assert read_record(folder).score("test", "bits_per_byte") is not None


@pytest.mark.parametrize(
    ("strategy", "message"),
    [("fsdp", "choose fsdp2"), ("ddp_spawn", "choose ddp or fsdp2"), ("dp2", "cannot be built")],
)
def test_a_strategy_that_would_give_other_numbers_is_refused(
    run: Run, strategy: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_yaml(tmp_path / "run.yaml", run.config.as_dict())
    flags = ["--config", str(tmp_path / "run.yaml"), "--results", str(tmp_path), "--trainer.strategy", strategy]
    with pytest.raises(SystemExit) as ended:
        train.main(["fit", *flags, "--trainer.devices", "2"])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
