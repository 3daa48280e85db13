"""Which runs of a grid are finished already, and so are not made again."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from data_modules.config import EMBEDDED_CORPORA
from experiments.errors import ExperimentError, RecordError
from experiments.paths import own_tables_folder, runs_folder, tables_folder
from experiments.planning.grid import Grid
from experiments.planning.runs import Run
from experiments.runs.merging import Key, run_key
from experiments.runs.record import Record
from experiments.runs.run_folder import read_record
from experiments.runs.store import local_records, read_committed


class FinishedRuns:
    """The finished runs of a grid: those in run folders here and, if asked for, those committed with its tables.

    Args:
        grid: the grid.
        results: the folder of all results.
        committed: also count committed records, to go on with a grid that was begun on another machine.
        texts: fingerprints and split hashes of the rows that the grid's runs are made on; committed records of other
            rows count for nothing. All count by default.
    """

    def __init__(
        self, grid: Grid, results: Path, *, committed: bool = False, texts: Collection[tuple[str, str]] | None = None
    ) -> None:
        self.results = results
        self.folder = runs_folder(results, grid.name, grid.corpus)
        tables = [place(results, grid.name, grid.corpus) for place in (own_tables_folder, tables_folder)]
        elsewhere = [record for folder in tables for record in read_committed(folder)] if committed else []
        self.committed: dict[Key, Record] = {
            run_key(record): record for record in elsewhere if texts is None or rows_of(record) in texts
        }

    def records(self) -> list[Record]:
        """Return every run's record, read anew: the local one, but a committed one rather than a local failure."""
        local = {run_key(record): record for record in local_records(self.folder)[0].values()}
        better = {
            key: record
            for key, record in local.items()
            if record.outcome.status != "failed" or key not in self.committed
        }
        return list({**self.committed, **better}.values())

    def holds(self, run: Run, fingerprint: str, split_hash: str) -> bool:
        """Tell whether there is a record of this run: same configuration, same rows, and not stopped by an error."""
        key = (run.condition, run.stage, run.config.hash(), run.seed)
        return any(
            record is not None
            and run_key(record) == key
            and record.outcome.status not in ("failed", "no_parent")
            and has_same_parent(record, run)
            and rows_of(record) == (fingerprint, split_hash)
            for record in (self._local(run), self.committed.get(key))
        )

    def _local(self, run: Run) -> Record | None:
        try:
            return read_record(run.folder(self.results))
        except RecordError:
            return None


def has_same_parent(record: Record, run: Run) -> bool:
    """Tell whether a record's run started from the weights that are there now, as far as these can be told."""
    if record.parent is None or run.config.start.run is None:
        return True
    try:
        parent = read_record(Path(run.config.start.run).expanduser())
    except RecordError:
        return True
    return parent.model.get("weights_sha256") in (None, record.parent.get("weights_sha256"))


def rows_of(record: Record) -> tuple[str, str]:
    """Return what identifies the rows that a run was made on: fingerprint of the text, hash of the splits."""
    return str(record.data.get("fingerprint")), str(record.data.get("split_hash"))


def refuse_other_files(grid: Grid, results: Path) -> None:
    """Refuse to count runs on a person's own files that were made of other files of the same name.

    Raises:
        ExperimentError: if a record has another fingerprint.
        DataError: if the files cannot be read.
    """
    config = grid.conditions[0].config.data
    if config.train_file is not None:
        from data_modules.cleaning.prepared import prepare

        refuse_other_text(grid, results, prepare(config).fingerprint)


def refuse_other_text(grid: Grid, results: Path, fingerprint: str) -> None:
    """Refuse to write to a folder with runs of another text of the same name, local or committed: they would be lost.

    An embedded text changes with the packages that it is built from; its committed records may be of another one, since
    version control keeps them.

    Raises:
        ExperimentError: if a record has another fingerprint.
    """
    folder = runs_folder(results, grid.name, grid.corpus)
    refuse_other_records(folder, local_records(folder)[0].values(), fingerprint)
    if grid.corpus not in EMBEDDED_CORPORA:
        for place in (tables_folder, own_tables_folder):
            tables = place(results, grid.name, grid.corpus)
            refuse_other_records(tables, read_committed(tables), fingerprint)


def refuse_other_records(folder: Path, records: Iterable[Record], fingerprint: str) -> None:
    """Raise :class:`ExperimentError` if a record of a folder has another fingerprint."""
    for record in records:
        found = str(record.data.get("fingerprint") or fingerprint)
        if found != fingerprint:
            raise ExperimentError(
                f"{folder} holds runs of another text of this name (fingerprint {found[:12]}, this one's is "
                f"{fingerprint[:12]}); remove that folder, or choose another with --results"
            )
