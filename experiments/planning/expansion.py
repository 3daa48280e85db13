"""From a grid to its runs: tuning trials first, then final runs with the values that validation chose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from experiments.planning.conditions import Condition
from experiments.planning.grid import Grid
from experiments.planning.run_config import RunConfig
from experiments.planning.runs import Run
from experiments.planning.tuning import choose
from experiments.records.record import Record


def tune_runs(grid: Grid) -> list[Run]:
    """Return every tuning trial; none of them may read the test split."""
    if grid.tuning is None:
        return []
    return [
        build_run(grid, condition, "tune", seed, condition.config.with_values(trial), tuned=trial)
        for seed in grid.tuning.seeds
        for condition in grid.conditions
        for trial in condition.trials
    ]


def final_runs(grid: Grid, records: Iterable[Record] = ()) -> list[Run]:
    """Return every final run, seed by seed, so that an unfinished grid has all conditions at its first seeds.

    Values chosen by tuning are read from ``records``; a run whose trials are not all recorded yet is ``pending``.
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
    """Return what tuning chose for a condition: nothing where it is not tuned, None where trials are missing."""
    if not condition.trials or grid.tuning is None:
        return {}
    hashes = {stage_config(condition.config.with_values(trial), "tune").hash() for trial in condition.trials}
    mine = [record for record in trials if record.condition == condition.name and record.config_hash in hashes]
    return choose(condition.trials, mine, grid.tuning.seeds)


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
