"""Runs made together as a population leave the folders and records of runs made one by one."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny_runs import make, tiny_run

from data_modules.batches.batching import BatchOrder
from data_modules.labelled_text import TextDataModule
from experiments.errors import ExperimentError
from experiments.planning.runs import Run
from experiments.runs.files import read_record
from experiments.runs.locks import Busy, locked
from experiments.runs.population import batches_by_epoch, execute_population, member_data
from lightning_modules.errors import ConfigurationError
from lightning_modules.tasks.classification import TextClassifier


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def member(cache: Path, seed: int, **values: Any) -> Run:
    """A tiny run of two epochs whose values name its cell."""
    run = tiny_run(cache, condition="no_norm", seed=seed)
    values = {f"model.{name}": value for name, value in values.items()}
    config = run.config.with_values({"trainer.max_epochs": 2, "trainer.log_every_n_steps": 4, **values})
    return replace(run, config=config, swept=values)


def population(cache: Path) -> list[Run]:
    """Two seeds, two rates, and a run that diverges."""
    common: dict[str, Any] = {"optimizer": "momentum", "weight_decay": 0.0}
    return [
        member(cache, 0, learning_rate=0.1, **common),
        member(cache, 1, learning_rate=0.02, warmup_fraction=0.3, **common),
        member(cache, 0, learning_rate=1e25, warmup_fraction=0.0, **common),
    ]


@pytest.fixture(scope="module")
def both(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[Path]]:
    """The run folders of a population and of its members alone."""
    together, alone = tmp_path_factory.mktemp("together"), tmp_path_factory.mktemp("alone")
    runs = population(cache)
    execute_population(runs, together)
    return [run.folder(together) for run in runs], [make(run, alone) for run in runs]


def assert_close(ours: Any, theirs: Any, place: str = "") -> None:
    """Compare nested plain values: numbers to a relative 1e-4, the rest exactly."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys(), place
        for name in theirs:
            assert_close(ours[name], theirs[name], f"{place}.{name}")
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs), place
        for one, other in zip(ours, theirs, strict=True):
            assert_close(one, other, place)
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-6), place
    else:
        assert ours == theirs, place


def test_records_are_those_of_the_runs_by_themselves_and_say_that_they_were_not(both) -> None:
    for ours, theirs in zip(*both, strict=True):
        one, other = asdict(read_record(ours)), asdict(read_record(theirs))
        assert one["environment"].pop("population") == 3
        assert_close(one, other)


def test_the_diverged_member_is_counted_as_such(both) -> None:
    outcomes = [read_record(folder).outcome.status for folder in both[0]]
    assert outcomes[2] == "diverged" and "diverged" not in outcomes[:2]


def test_predictions_and_curves_are_those_of_the_runs_by_themselves(both) -> None:
    for ours, theirs in list(zip(*both, strict=True))[:2]:
        one, other = (pd.read_parquet(folder / "predictions.parquet") for folder in (ours, theirs))
        pd.testing.assert_frame_equal(one, other, rtol=1e-3, atol=1e-5)
        curves = [pd.read_csv(folder / "metrics.csv") for folder in (ours, theirs)]
        for name in ("train/loss", "validation/macro_f1", "gradient_norm/block_00"):
            points = [table[["step", name]].dropna() for table in curves]
            np.testing.assert_allclose(*points, rtol=1e-3)


def test_a_member_leaves_the_files_of_the_contract_and_a_checkpoint_that_loads(both) -> None:
    names = [{path.name.partition(".")[0] for path in folder.iterdir()} for folder in (both[0][0], both[1][0])]
    assert names[0] == names[1]
    loaded = TextClassifier.load_from_checkpoint(both[0][0] / "best.ckpt")
    assert loaded.config.seed == 0 and loaded.config.learning_rate == 0.1


def test_every_member_sees_the_batches_of_its_own_run(cache: Path) -> None:
    runs = [tiny_run(cache, seed=seed) for seed in (3, 4)]
    batches = batches_by_epoch(member_data(runs))
    for epoch in (0, 1):
        seen = list(batches(epoch))
        for index, run in enumerate(runs):
            text = TextDataModule(**{name: getattr(run.config.data, name) for name in vars(run.config.data)})
            order = BatchOrder(text.encoded.splits["train"].lengths, run.config.data.batch_size, run.seed)
            order.set_epoch(epoch)
            assert [step[index]["rows"].tolist() for step in seen] == [rows.tolist() for rows in order]


def test_another_process_keeps_its_run_and_no_other_is_begun(cache: Path, tmp_path: Path) -> None:
    runs = population(cache)
    with locked(runs[1].folder(tmp_path)), pytest.raises(Busy):
        execute_population(runs, tmp_path)
    assert not list(tmp_path.rglob("run.json")) and not list(tmp_path.rglob("config.yaml"))


@pytest.mark.parametrize(("values", "reason"), [
    ({"data.batch_size": 16}, "differs from"), ({"trainer.max_epochs": 3}, "differs from"),
    ({"probes.every_n_steps": 5}, "measured while it trains"), ({"trainer.devices": 2}, "flags of the trainer"),
    ({"model.width": 32}, r"model\.width is 16 in one member"),
])  # fmt: skip
def test_runs_that_are_no_population_are_refused_by_name(cache: Path, tmp_path: Path, values, reason) -> None:
    runs = [tiny_run(cache, seed=0), tiny_run(cache, seed=1)]
    runs[1] = replace(runs[1], config=runs[1].config.with_values(values))
    with pytest.raises((ExperimentError, ConfigurationError), match=reason):
        execute_population(runs, tmp_path)


def test_a_run_that_stands_twice_is_refused(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="twice"):
        execute_population([tiny_run(cache), tiny_run(cache)], tmp_path)
