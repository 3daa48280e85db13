"""Grids that start from another grid's runs: joined by condition and seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from experiments.errors import ExperimentError
from experiments.paths import runs_folder
from experiments.planning.conditions import Condition
from experiments.planning.expansion import final_runs
from experiments.planning.grid import Grid
from experiments.planning.run_config import StartConfig
from experiments.planning.runs import Run
from experiments.runs.store import local_records


def joined(grid: Grid, results: Path) -> Grid:
    """Return a grid whose conditions know which runs they start from, so that their hashes tell it.

    The parent's hash follows from its grid file and from what tuning chose there. With fewer seeds there than here,
    they take turns.

    Raises:
        ExperimentError: a grid, or a condition of it, does not exist, or it is not clear which runs are meant.
    """
    found: dict[str, list[Run]] = {}
    seeds: dict[str, int] = {}

    def runs_of(name: str) -> list[Run]:
        if name not in found:
            parent = Grid.load(name)
            records = local_records(runs_folder(results, parent.name, parent.corpus))[0]
            found[name] = [run for run in final_runs(parent, records.values()) if not run.baseline]
            seeds[name] = len(parent.seeds)
        return found[name]

    def known(condition: Condition) -> Condition:
        """Return the condition with the run that each of its seeds starts from; without a start, as it is."""
        start = condition.config.start
        if start.grid is None:
            return condition
        run = the_run(condition, runs_of(start.grid))
        place = run.folder(results)
        resolved = replace(
            start,
            run=str(place.with_name("seed_{seed}")),
            parent="not tuned yet" if run.pending else run.config.hash(),
            parents=seeds[start.grid],
        )
        return replace(condition, config=replace(condition.config, start=resolved))

    # Conditions are compared by identity, so each is made once.
    made = {id(condition): known(condition) for condition in grid.all_conditions}
    kept = tuple(made[id(condition)] if id(condition) in made else known(condition) for condition in grid.conditions)
    return replace(grid, conditions=kept, all_conditions=tuple(made.values()))


def the_run(condition: Condition, runs: list[Run]) -> Run:
    """Return the first run that a condition starts from; its seeds share their settings.

    Raises:
        ExperimentError: there is none, or there are several whose settings differ.
    """
    start: StartConfig = condition.config.start
    name = start.condition or condition.name
    named = [run for run in runs if run.condition == name]
    if not named:
        there = ", ".join(dict.fromkeys(run.condition for run in runs))
        raise ExperimentError(
            f"the grid {start.grid} has no condition {name!r} to start {condition.name!r} from; it has {there}"
        )
    model = vars(condition.config.model)
    fitting = [
        run
        for run in named
        if all(
            model.get(setting.removeprefix("model.")) == value
            for setting, value in run.swept.items()
            if setting.startswith("model.")
        )
    ]
    cells = list(dict.fromkeys(run.cell for run in fitting))
    if len(cells) != 1:
        raise ExperimentError(
            f"the grid {start.grid} has {len(cells)} settings of {name!r} that {condition.name!r} could start from; "
            "name one with start.run"
        )
    return fitting[0]
