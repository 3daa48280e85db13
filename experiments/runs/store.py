"""The evidence of a table: every record behind it, local and committed, with predictions and timings.

Run folders under ``results/runs`` are local. ``records.jsonl.gz``, ``predictions.parquet`` and ``timing.csv`` next to a
published table are committed and hold the same, so that a fresh clone can rebuild the table; so do those next to a
person's own tables under ``results/local``, from which a report is rebuilt after its run folders are gone.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.errors import REMEDY, RecordError
from experiments.runs.merging import merge_records, run_key, without_paths
from experiments.runs.naming import run_name
from experiments.runs.record import Record
from experiments.runs.run_folder import PREDICTIONS_FILE, RECORD_FILE, read_record, write_atomically

if TYPE_CHECKING:
    from pandas import DataFrame

RECORDS_FILE = "records.jsonl.gz"
LARGEST_RECORDS = 500_000_000
"""Bytes of all records of a table, decompressed; the largest committed file has five million."""


@dataclass
class Evidence:
    """Everything that tables and figures are made from; they are a pure function of it."""

    records: list[Record]
    """Sorted by stage, condition, cell and seed."""
    predictions: DataFrame
    """Of final runs on the test split: ``row, group, label``, then the predicted label of one run per column, named
    ``<condition>/<cell>/seed_<n>``; missing where a run did not score that row."""
    timings: DataFrame
    """``variant, cell, seed`` and what the runs' ``timing.csv`` hold, as text."""
    notes: list[str] = field(default_factory=list)
    """What was left out and why: for the person who reads the terminal, never part of a table."""

    @property
    def finals(self) -> list[Record]:
        """Records of final runs, which scored the test split."""
        return [record for record in self.records if record.stage == "final"]

    @property
    def trials(self) -> list[Record]:
        """Records of tuning runs, which never read the test split."""
        return [record for record in self.records if record.stage == "tune"]

    @staticmethod
    def gather(
        runs_folder: Path,
        committed_folder: Path,
        wanted: Collection[str] | None = None,
        *,
        own_folder: Path | None = None,
    ) -> Evidence:
        """Merge the runs below ``results/runs/<grid>/<corpus>`` with what is next to the tables.

        Args:
            runs_folder: holds ``<condition>/<cell>/seed_<n>/run.json``; may be absent.
            committed_folder: ``results/<grid>/<corpus>``; may be absent.
            wanted: configuration hashes to keep (a plan's); all by default.
            own_folder: ``results/local/<grid>/<corpus>``; may be absent.

        Raises:
            RecordError: if a committed file is corrupt, or records cannot be in one table.
        """
        from experiments.runs.predictions import gather_predictions
        from experiments.runs.timings import gather_timings

        found, notes = gather_records(runs_folder, committed_folder, wanted, own_folder=own_folder)
        records, origins = [record for record, _ in found], {run_name(record): origin for record, origin in found}
        tables = [folder for folder in (committed_folder, own_folder) if folder is not None]
        finals = [record for record in records if record.stage == "final"]
        predictions, prediction_notes = gather_predictions(finals, origins, tables)
        timings, timing_notes = gather_timings(records, origins, tables)
        return Evidence(records, predictions, timings, notes + prediction_notes + timing_notes)

    def save(self, folder: Path) -> list[Path]:
        """Write the evidence files and return their paths; equal evidence gives equal bytes.

        Raises:
            RecordError: if a file cannot be written.
        """
        from experiments.runs.predictions import predictions_bytes
        from experiments.runs.timings import TIMING_FILE, timings_bytes

        lines = "".join(f"{record.to_json()}\n" for record in self.records)
        contents = {
            RECORDS_FILE: gzip.compress(lines.encode(), compresslevel=9, mtime=0),
            PREDICTIONS_FILE: predictions_bytes(self.predictions),
            TIMING_FILE: timings_bytes(self.timings),
        }
        for name, content in contents.items():
            write_atomically(folder / name, content)
        return [folder / name for name in contents]


def gather_records(
    runs_folder: Path, committed_folder: Path, wanted: Collection[str] | None = None, *, own_folder: Path | None = None
) -> tuple[list[tuple[Record, Path]], list[str]]:
    """Return the records of one table, each with the folder it comes from, and what was left out.

    If several know a run, its run folder wins, then what is committed. If they do not fit together (other texts,
    other settings of a cell), the run folders win, then a person's own tables. The arguments are those of
    :meth:`Evidence.gather`.
    """
    local, notes = local_records(runs_folder)
    origins = {run_key(record): folder for folder, record in local.items() if record.outcome.status != "failed"}
    committed = read_committed(committed_folder)
    for record in committed:
        origins.setdefault(run_key(record), committed_folder)
    own = []
    if own_folder is not None:
        own = [record for record in read_committed(own_folder) if run_key(record) not in origins]
        origins |= {run_key(record): own_folder for record in own}
    mine, own_notes = merge_records(local.values(), own, wanted, called="earlier")
    records, committed_notes = merge_records(mine, committed, wanted)
    return [(record, origins[run_key(record)]) for record in records], notes + own_notes + committed_notes


def local_records(runs_folder: Path) -> tuple[dict[Path, Record], list[str]]:
    """Return the finished runs of a grid by folder, and one sentence for each record that cannot be read."""
    records: dict[Path, Record] = {}
    problems = []
    for path in sorted(runs_folder.glob(f"*/*/*/{RECORD_FILE}")):
        try:
            records[path.parent] = without_paths(read_record(path.parent))
        except RecordError as error:
            problems.append(f"left out: {error}")
    return records, problems


def read_committed(folder: Path) -> list[Record]:
    """Return the records that are committed with a table; none if the file is absent.

    Raises:
        RecordError: if the file is corrupt, naming it and the line.
    """
    path = folder / RECORDS_FILE
    if not path.exists():
        return []
    try:
        if not path.stat().st_size:
            raise EOFError("it is empty")  # gzip would take it for no records
        with gzip.open(path) as file:
            text = file.read(LARGEST_RECORDS + 1)
        if len(text) > LARGEST_RECORDS:
            raise EOFError(f"it holds more than {LARGEST_RECORDS:,} bytes")
        lines = text.decode().split("\n")[:-1]  # texts may hold other line separators
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise RecordError(f"{path} is damaged ({error}); {REMEDY}") from None
    return [Record.from_json(line, origin=f"{path}, line {number},") for number, line in enumerate(lines, start=1)]
