"""From a grid to its runs: tuning trials first, then final runs with the values that validation chose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from experiments.planning.conditions import Condition
from experiments.planning.grid import Grid
from experiments.planning.run_config import RunConfig
from experiments.planning.runs import Run
from experiments.planning.search import most_runs, search, stage_config
from experiments.planning.tuning import FIRST_TUNING_SEED
from experiments.runs.record import Record


def tune_runs(grid: Grid, records: Iterable[Record] = ()) -> list[Run]:
    """Return every tuning trial; none of them may read the test split.

    Later trials follow from ``records`` (:mod:`experiments.planning.search`). Those whose forerunners are not all
    recorded yet are ``pending``: as many as there may be at most.
    """
    made = [record for record in records if record.stage == "tune"]
    tuned = [condition for condition in grid.conditions if condition.trials and not condition.waits]
    searches = [(condition, search(grid, condition, made)) for condition in tuned]
    seeds = sorted({seed for _, found in searches for _, seed in found.planned})
    runs = [
        build_run(grid, condition, "tune", seed, condition.config.with_values(trial), tuned=trial)
        for seed in seeds
        for condition, found in searches
        for trial, its_seed in found.planned
        if its_seed == seed
    ]
    waiting = [condition for condition in grid.conditions if condition.trials and condition.waits]
    later = [(condition, found.later) for condition, found in searches]
    for condition, most in [*later, *((each, most_runs(grid, each)) for each in waiting)]:
        config = condition.config.with_values(condition.trials[0])
        for number in range(most):
            place = {"further_trial": 1 + number}
            runs.append(build_run(grid, condition, "tune", FIRST_TUNING_SEED, config, tuned=place, pending=True))
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
            config = condition.config
            if condition.trials:
                config = config.with_values(tuned or dict(condition.trials[0]))
            runs.append(build_run(grid, condition, "final", seed, config, tuned=tuned or {}, pending=tuned is None))
    return runs


def chosen_values(grid: Grid, condition: Condition, trials: Sequence[Record]) -> dict[str, Any] | None:
    """What tuning chose for a condition, here or elsewhere: nothing if it is not tuned, None if trials are missing."""
    if condition.waits:
        return None
    return search(grid, condition, trials).choice if condition.trials else condition.chosen or {}


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
