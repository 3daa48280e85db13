"""The runs of a grid that can be trained together, population by population, in this process."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.status import Status

from experiments.errors import ExperimentError
from experiments.making.display import duration
from experiments.making.worker import is_mistake
from experiments.planning.runs import Run
from experiments.runs.locks import Busy, record_mark
from lightning_modules.errors import ConfigurationError
from lightning_modules.population.requirements import OWN_VALUES


def make_populations(
    runs: Sequence[Run],
    results: Path,
    size: int,
    console: Console,
    is_made: Callable[[Run], bool] = lambda run: False,
) -> None:
    """Train what can be trained together, at most ``size`` runs at a time; every other run is left to be made alone.

    A run that ``is_made`` by the time that its population would start is left out. Left are also runs of a population
    that an error stopped, such as one too large for the device's memory.

    Raises:
        ExperimentError, DataError, ConfigurationError: for a user's mistake.
    """
    from experiments.runs.population import execute_population  # torch and lightning: not before they are needed

    populations = group(runs, size)
    for number, members in enumerate(populations, start=1):
        name = f"population {number} of {len(populations)}: {len(members)} runs of {members[0].condition}"
        started = time.monotonic()
        seen = {run.name: record_mark(run.folder(results)) for run in members}  # before asking what is made
        members = [run for run in members if not is_made(run)]
        if len(members) < 2:
            continue
        try:
            with console.status(name) as line:
                records = execute_population(members, results, step_shower(line, name), seen)
        except Busy:
            console.print(f"{name}: another process is making one of them", highlight=False)
            continue
        except Exception as error:
            if is_mistake(error):
                raise
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            console.print(f"[yellow]{name} stopped, so they are made one at a time[/yellow]: {escape(reason)}")
            continue
        endings = [record.outcome.status for record in records]
        counts = ", ".join(f"{endings.count(status)} {status}" for status in dict.fromkeys(endings))
        console.print(f"{name}: {counts} in {duration(time.monotonic() - started)}", highlight=False)


def step_shower(line: Status, name: str) -> Callable[[int], None]:
    """Return what shows the number of the step that was taken."""
    return lambda step: line.update(f"{name}, step {step}")


def group(runs: Sequence[Run], size: int) -> list[list[Run]]:
    """Return lists of two to ``size`` runs of one architecture, text and training; lone runs are left out."""
    alike: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        if can_join(run):
            alike[architecture(run)].append(run)
    chunks = [members[start : start + size] for members in alike.values() for start in range(0, len(members), size)]
    return [chunk for chunk in chunks if len(chunk) > 1]


def can_join(run: Run) -> bool:
    """Return whether a population can train the run."""
    from experiments.runs.population import refuse_unfit

    try:
        refuse_unfit([run])
    except (ExperimentError, ConfigurationError):
        return False
    return True


def architecture(run: Run) -> str:
    """Return as text all that the members of one population have in common."""
    config = run.config.as_dict()
    model = {name: value for name, value in config["model"].items() if name not in OWN_VALUES}
    return json.dumps([run.stage, model, config["data"], config["trainer"], config["threads"]], sort_keys=True)
