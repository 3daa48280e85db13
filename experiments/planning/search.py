"""The search for one condition's tuned values: which trials are made, in which order, and what they choose.

Five steps, each of which a grid may leave out. Only the condition's own validation scores decide, so equal records give
equal trials, in whatever order and company they were made.

1. **Pilot.** One setting, such as the learning rate, over a wide ladder; other settings keep their first listed value.
2. **Listed trials.** Every combination of ``spaces``. With a pilot, its setting takes the multiples ``around`` of the
   pilot's best. So a condition that bears only small rates spends no trial on large ones.
3. **Widening.** ``widen`` further trials for every condition (:mod:`experiments.planning.widening`).
4. **Extension.** Up to ``extend`` more for a condition of which fewer than half of the trials are *useful*: trained,
   and within the task's ``useful_within`` of its best. If most trials of one side fail, equal numbers of trials are not
   equal tuning.
5. **Confirmation.** The best ``confirm.top`` again with ``confirm.seeds`` further seeds; the best mean over all seeds
   wins. For settings that train only now and then, one seed would be a lottery.

At larger values of a swept setting that ``carry`` names, such as a longer budget, only the best trials of its smallest
value are tried.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from statistics import fmean
from typing import Any

from data_modules.errors import DataError
from experiments.errors import ExperimentError
from experiments.planning.conditions import Condition
from experiments.planning.grid import Grid
from experiments.planning.run_config import RunConfig
from experiments.planning.tuning import Tuning
from experiments.planning.widening import Trial, next_trial, shortened, values_tried
from experiments.runs.record import Record
from experiments.tasks import task_named
from lightning_modules.errors import ConfigurationError


@dataclass(frozen=True)
class Score:
    """What tuning knows of one trial."""

    mean: float
    """Mean over seeds of the task's primary metric on validation; a run without a score counts as its worst value."""
    trained: bool
    """Whether it trained with every seed."""


@dataclass(frozen=True)
class Search:
    """How far the search of one condition has come."""

    planned: tuple[tuple[Trial, int], ...]
    """Values and seed of every trial that is known so far, in the order in which ties are broken."""
    later: int = 0
    """Most further trials that may follow from those."""
    ranked: tuple[Trial, ...] = ()
    """All values that were tried, the best first; empty while a trial lacks its record."""

    @property
    def choice(self) -> Trial | None:
        """The values that the final runs take; None while trials are missing."""
        return dict(self.ranked[0]) if self.ranked else None


def search(grid: Grid, condition: Condition, records: Sequence[Record]) -> Search:
    """Return the known trials of a tuned condition and, once all are recorded, their order.

    Args:
        grid: with tuning.
        condition: one of its conditions, with trials.
        records: tuning runs, of this condition and of others.
    """
    tuning = grid.tuning
    assert tuning is not None, "the condition has trials"
    smaller = carried_from(grid, condition)
    if smaller is not None:
        before = search(grid, smaller, records).ranked
        if not before:
            return Search((), tuning.carry_top * len(tuning.seeds))
        return followed(single_step(before[: tuning.carry_top]), condition, records, tuning, most=0)
    return followed(steps(condition, tuning), condition, records, tuning, most_runs(grid, condition))


def most_runs(grid: Grid, condition: Condition) -> int:
    """Return the most tuning runs that a condition may get which is tuned for itself."""
    assert grid.tuning is not None, "the condition has trials"
    return grid.tuning.most_trials(condition.trials) * len(grid.tuning.seeds) + grid.tuning.confirmations


Steps = Generator[list[Trial], list[Score], None]
"""Yields all trials so far after every step, and is sent their scores."""


def followed(protocol: Steps, condition: Condition, records: Sequence[Record], tuning: Tuning, most: int) -> Search:
    """Follow a protocol as far as the records go, then confirm the best trials with further seeds.

    Args:
        protocol: the steps.
        condition: whose trials they are.
        records: tuning runs.
        tuning: the grid's rules.
        most: runs of the whole protocol with all its possible trials.
    """
    scores: list[Score] | None = []
    trials: list[Trial] = next(protocol)
    while True:
        scores = scores_of(condition, trials, records, tuning.seeds)
        planned = tuple((trial, seed) for seed in tuning.seeds for trial in trials)
        if scores is None:
            return Search(planned, max(0, most - len(planned)))
        try:
            trials = protocol.send(scores)
        except StopIteration:
            break
    ranked = ranking(trials, scores, condition)
    if not (tuning.confirm_seeds and most):
        return Search(planned, 0, ranked)
    top, others = ranked[: tuning.confirm_top], ranked[tuning.confirm_top :]
    planned += tuple((trial, seed) for seed in tuning.confirm_seeds for trial in top)
    again = scores_of(condition, top, records, (*tuning.seeds, *tuning.confirm_seeds))
    return Search(planned) if again is None else Search(planned, 0, ranking(top, again, condition) + others)


def steps(condition: Condition, tuning: Tuning) -> Steps:
    """Yield the trials of a condition that is tuned for itself, step by step."""
    trials = [dict(trial) for trial in condition.trials]
    scores = yield trials
    for name in tuning.pilot:
        best = ranking(trials, scores, condition)[0]
        tried = sorted(values_tried(name, trials))
        values = [shortened(best[name] * factor, tried) if factor != 1 else best[name] for factor in tuning.around]
        space = tuning.space_of(condition.name, condition.config.model.variant)
        listed = [dict(zip((name, *space), each, strict=True)) for each in product(values, *space.values())]
        trials += [trial for trial in listed if trial not in trials and is_valid(condition.config, trial)]
        scores = yield trials
    for number in range(tuning.widen + tuning.extend):
        if number >= tuning.widen and 2 * useful(scores, condition) >= len(trials):
            break
        best = ranking(trials, scores, condition)[0]
        trials.append(next_trial(trials, best, lambda trial: is_valid(condition.config, trial)))
        scores = yield trials


def single_step(trials: Sequence[Trial]) -> Steps:
    """Yield trials that are all known at once."""
    yield [dict(trial) for trial in trials]


def carried_from(grid: Grid, condition: Condition) -> Condition | None:
    """Return the condition at the smallest value of the setting that ``carry`` names; None if it is this one."""
    assert grid.tuning is not None, "the condition has trials"
    name = grid.tuning.carry
    if name is None or name not in condition.swept:
        return None
    alike = [
        other
        for other in grid.all_conditions
        if other.name == condition.name and {**other.swept, name: None} == {**condition.swept, name: None}
    ]
    smallest = min(alike, key=lambda other: other.swept[name])
    return None if smallest.swept[name] == condition.swept[name] else smallest


def scores_of(
    condition: Condition, trials: Sequence[Trial], records: Sequence[Record], seeds: Sequence[int]
) -> list[Score] | None:
    """Return the score of every trial; None while a trial lacks the record of a seed, or an error stopped it.

    A choice among some of the trials could differ from the choice among all.
    """
    metric = task_named(condition.config.task).primary_metric
    own = [record for record in records if record.condition == condition.name and record.outcome.status != "failed"]
    by_run = {(record.config_hash, record.seed): record for record in own}
    scores = []
    for trial in trials:
        digest = stage_config(condition.config.with_values(trial), "tune").hash()
        found = [by_run.get((digest, seed)) for seed in seeds]
        made = [record for record in found if record is not None]
        if len(made) < len(found):
            return None
        values = [record.score("validation", metric.name) for record in made]
        mean = fmean(metric.worst if value is None else value for value in values)
        scores.append(Score(mean, all(record.outcome.status == "trained" for record in made)))
    return scores


def ranking(trials: Sequence[Trial], scores: Sequence[Score], condition: Condition) -> tuple[Trial, ...]:
    """Return trials from the best mean to the worst; the first one wins a tie."""
    metric = task_named(condition.config.task).primary_metric
    sign = -1 if metric.higher_is_better else 1
    order = sorted(range(len(trials)), key=lambda place: sign * scores[place].mean)
    return tuple(trials[place] for place in order)


def useful(scores: Sequence[Score], condition: Condition) -> int:
    """Return how many trials trained and came within the task's ``useful_within`` of the best."""
    task = task_named(condition.config.task)
    best = task.primary_metric.best(score.mean for score in scores)
    return sum(score.trained and abs(score.mean - best) <= task.useful_within for score in scores)


def is_valid(config: RunConfig, trial: Trial) -> bool:
    """Tell whether a configuration takes a trial's values."""
    try:
        config.with_values(trial)
    except (ConfigurationError, DataError, ExperimentError):
        return False
    return True


def stage_config(config: RunConfig, stage: Any) -> RunConfig:
    """Return the configuration with the stage that says whether the test split may be read."""
    return replace(config, data=replace(config.data, stage=stage))
