"""Conditions that take values which the tuning of another grid chose: the best ones, or those that came second."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.errors import ExperimentError
from experiments.planning.conditions import ChosenIn, Condition
from experiments.planning.grid import Grid
from experiments.planning.search import search, stage_config
from experiments.runs.finished import FinishedRuns
from experiments.runs.naming import spell
from experiments.runs.record import Record


def with_choices(grid: Grid, results: Path) -> Grid:
    """Return a grid whose conditions have the values that other grids chose, local and committed records counted.

    A condition whose trials there are not all recorded keeps waiting, and so do its runs.

    Raises:
        ExperimentError: the other grid has no such condition, chose among fewer values, or has other settings.
    """
    found: dict[str, tuple[Grid, list[Record]]] = {}

    def elsewhere(choice: ChosenIn, condition: Condition) -> tuple[Grid, list[Record]]:
        if choice.grid not in found:
            other = Grid.load(choice.grid, {"data": {"corpus": condition.config.data.corpus}})
            records = FinishedRuns(other, results, committed=True).records()
            found[choice.grid] = other, [record for record in records if record.stage == "tune"]
        return found[choice.grid]

    def known(condition: Condition) -> Condition:
        if condition.chosen_in is None:
            return condition
        other, records = elsewhere(condition.chosen_in, condition)
        its = the_condition(condition, other)
        chosen = ranked_values(condition, search(other, its, records).ranked)
        if chosen is None:
            return condition
        return replace(condition, config=condition.config.with_values(chosen), chosen=chosen)

    # Conditions are compared by identity, so each is made once.
    made = {id(condition): known(condition) for condition in grid.all_conditions}
    kept = tuple(made[id(condition)] if id(condition) in made else known(condition) for condition in grid.conditions)
    return replace(grid, conditions=kept, all_conditions=tuple(made.values()))


def the_condition(condition: Condition, other: Grid) -> Condition:
    """Return the condition of another grid whose tuning is meant: its swept values are the settings here.

    Raises:
        ExperimentError: there is none, it is not tuned, or another setting differs: its choice would mean nothing here.
    """
    choice = condition.chosen_in
    assert choice is not None
    named = [each for each in other.all_conditions if each.name == choice.condition and each.trials]
    if not named:
        tuned = ", ".join(dict.fromkeys(each.name for each in other.all_conditions if each.trials))
        raise ExperimentError(
            f"condition {condition.name!r}: the grid {choice.grid} tunes no condition {choice.condition!r}; "
            f"it tunes {tuned}"
        )
    wanted = stage_config(condition.config, "tune").hash()
    for each in named:
        if stage_config(each.config, "tune").hash() == wanted:
            return each
    cells = "; ".join(", ".join(f"{name} {spell(value)}" for name, value in each.swept.items()) for each in named)
    raise ExperimentError(
        f"condition {condition.name!r}: its settings are those of no {choice.condition!r} in the grid {choice.grid}, "
        f"so values chosen there mean nothing here; it has {cells or 'one without a sweep'}"
    )


def ranked_values(condition: Condition, ranked: tuple[dict[str, Any], ...]) -> dict[str, Any] | None:
    """Return the values of the wanted rank; None while trials are missing.

    Raises:
        ExperimentError: fewer values were tried.
    """
    choice = condition.chosen_in
    assert choice is not None
    if not ranked:
        return None
    if choice.rank > len(ranked):
        raise ExperimentError(
            f"condition {condition.name!r}: chosen_in.rank is {choice.rank}, and the grid {choice.grid} tried "
            f"{len(ranked)} values for {choice.condition!r}"
        )
    return dict(ranked[choice.rank - 1])
