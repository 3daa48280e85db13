"""From a grid to its runs: tuning trials first, then final runs with the values that validation chose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from data_modules.errors import DataError
from experiments.errors import ExperimentError
from experiments.planning.conditions import Condition
from experiments.planning.grid import Grid
from experiments.planning.run_config import RunConfig
from experiments.planning.runs import Run
from experiments.planning.tuning import choose
from experiments.planning.widening import next_trial
from experiments.runs.record import Record
from lightning_modules.errors import ConfigurationError


def tune_runs(grid: Grid, records: Iterable[Record] = ()) -> list[Run]:
    """Return every tuning trial; none of them may read the test split.

    If the grid widens what it lists, the values of further trials follow from ``records``. A trial whose forerunners
    are not all recorded yet is ``pending``.
    """
    if grid.tuning is None:
        return []
    made = [record for record in records if record.stage == "tune"]
    known = [(condition, search(grid, condition, made)[0]) for condition in grid.conditions if condition.trials]
    runs = []
    for seed in grid.tuning.seeds:
        for condition, trials in known:
            for trial in trials:
                config = condition.config.with_values(trial)
                runs.append(build_run(grid, condition, "tune", seed, config, tuned=trial))
            for number in range(len(trials), len(condition.trials) + grid.tuning.widen):
                place = {"further_trial": 1 + number - len(condition.trials)}
                config = condition.config.with_values(condition.trials[0])
                runs.append(build_run(grid, condition, "tune", seed, config, tuned=place, pending=True))
    return runs


def final_runs(grid: Grid, records: Iterable[Record] = ()) -> list[Run]:
    """Return every final run, seed by seed, so that an unfinished grid has all conditions at its first seeds.

    Values chosen by tuning are read from ``records``. A run whose trials are not all recorded yet is ``pending``.
    """
    trials = [record for record in records if record.stage == "tune"]
    choices = {id(condition): chosen_values(grid, condition, trials) for condition in grid.conditions}
    runs = []
    for seed in grid.seeds:
        for condition in grid.conditions:
            if condition.baseline and seed != grid.seeds[0]:
                continue
            tuned = choices[id(condition)]
            config = condition.config.with_values(tuned or dict(condition.trials[0]) if condition.trials else {})
            runs.append(build_run(grid, condition, "final", seed, config, tuned=tuned or {}, pending=tuned is None))
    return runs


def chosen_values(grid: Grid, condition: Condition, trials: Sequence[Record]) -> dict[str, Any] | None:
    """What tuning chose for a condition: nothing if it is not tuned, None if trials are missing."""
    if not condition.trials or grid.tuning is None:
        return {}
    return search(grid, condition, trials)[1]


def search(
    grid: Grid, condition: Condition, records: Sequence[Record]
) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """Return the trials of a tuned condition as far as they are known, and what all of them chose.

    Args:
        grid: with tuning.
        condition: one of its conditions, with trials.
        records: tuning runs. While one of a known trial is missing, nothing is chosen and no further trial known.
    """
    assert grid.tuning is not None, "the condition has trials"
    trials, seeds = list(condition.trials), grid.tuning.seeds
    best = choose(trials, records_of(condition, trials, records), seeds)
    for _ in range(grid.tuning.widen):
        if best is None:
            break
        trials.append(next_trial(trials, best, lambda trial: is_valid(condition.config, trial)))
        best = choose(trials, records_of(condition, trials, records), seeds)
    return trials, best


def records_of(condition: Condition, trials: Sequence[dict[str, Any]], records: Sequence[Record]) -> list[Record]:
    """Return the records of a condition's trials, known by their configuration."""
    hashes = {stage_config(condition.config.with_values(trial), "tune").hash() for trial in trials}
    return [record for record in records if record.condition == condition.name and record.config_hash in hashes]


def is_valid(config: RunConfig, trial: dict[str, Any]) -> bool:
    """Tell whether a configuration takes a trial's values."""
    try:
        config.with_values(trial)
    except (ConfigurationError, DataError, ExperimentError):
        return False
    return True


def build_run(
    grid: Grid,
    condition: Condition,
    stage: Any,
    seed: int,
    config: RunConfig,
    *,
    tuned: dict[str, Any],
    pending: bool = False,
) -> Run:
    """Return one run of a condition."""
    return Run(
        grid=grid.name,
        corpus=grid.corpus,
        condition=condition.name,
        stage=stage,
        seed=seed,
        config=stage_config(config, stage).with_seed(seed),
        swept=condition.swept,
        tuned=tuned,
        pending=pending,
        baseline=condition.baseline,
    )


def stage_config(config: RunConfig, stage: Any) -> RunConfig:
    """Return the configuration with the stage that says whether the test split may be read."""
    return replace(config, data=replace(config.data, stage=stage))
