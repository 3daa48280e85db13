"""The runs that a claim rests on: those that its grid plans, matched with local and committed records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from experiments.evidence.claim import Arm
from experiments.paths import own_tables_folder, runs_folder, tables_folder
from experiments.planning.expansion import final_runs
from experiments.planning.grid import Grid
from experiments.planning.runs import Run
from experiments.reporting.frame import target_of
from experiments.runs.merging import run_key
from experiments.runs.record import Record
from experiments.runs.store import gather_records


@dataclass(frozen=True)
class ArmRuns:
    """The final runs of one arm."""

    planned: int
    """Runs that the grid plans."""
    records: Mapping[int, list[Record]]
    """By seed, for seeds of which every planned run is recorded."""
    found: int
    """Planned runs that are recorded."""

    @property
    def is_complete(self) -> bool:
        """Whether every planned run is recorded."""
        return self.found == self.planned


class GridResults:
    """What is recorded of a grid on one corpus. A record counts only if its configuration is the planned one.

    Args:
        grid: the grid on the corpus.
        results: folder of run folders and tables.
    """

    def __init__(self, grid: Grid, results: Path) -> None:
        self.grid = grid
        runs, tables, own = (
            place(results, grid.name, grid.corpus) for place in (runs_folder, tables_folder, own_tables_folder)
        )
        found, notes = gather_records(runs, tables, own_folder=own)
        records = [record for record, _ in found]
        self.notes = [f"{grid.name} on {grid.corpus}: {note}" for note in notes]
        """What was left out and why, for the person who reads the terminal."""
        self.runs = final_runs(grid, records)
        self.recorded = {run_key(record): record for record in records}
        self.finals = [record for run in self.runs if (record := self.record_of(run)) is not None]

    def record_of(self, run: Run) -> Record | None:
        """Return the record of a planned run; None where it is missing, or waits for tuning."""
        return None if run.pending else self.recorded.get((run.condition, run.stage, run.config.hash(), run.seed))

    def runs_of(self, arm: Arm) -> ArmRuns:
        """Return the final runs of one arm."""
        return self._recorded(
            run
            for run in self.runs
            if run.condition == arm.condition and all(run.swept.get(key) == value for key, value in arm.swept.items())
        )

    @property
    def baselines(self) -> ArmRuns:
        """The fits of the baselines, one of which sets the target."""
        return self._recorded(run for run in self.runs if run.baseline)

    def _recorded(self, planned: Iterable[Run]) -> ArmRuns:
        planned = list(planned)
        by_seed: dict[int, list[Record | None]] = defaultdict(list)
        for run in planned:
            by_seed[run.seed].append(self.record_of(run))
        complete = {
            seed: [record for record in records if record is not None]
            for seed, records in by_seed.items()
            if None not in records
        }
        found = sum(record is not None for records in by_seed.values() for record in records)
        return ArmRuns(len(planned), complete, found)

    @property
    def target(self) -> float | None:
        """Validation macro-F1 that measures of speed and overfitting ask for; None without a TF-IDF baseline."""
        return target_of(self.finals, {})
