"""The record of a run that an error stopped. The next ``run`` makes it again; no table counts it as a result."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from experiments.errors import ExperimentError
from experiments.planning.runs import Run
from experiments.runs.errors import RecordError
from experiments.runs.files import read_record, write_atomically, write_record
from experiments.runs.locks import Busy, locked
from experiments.runs.provenance import environment
from experiments.runs.record import Outcome, Record

FAILURE_FILE = "failure.txt"


def write_failure(run: Run, results: Path, reason: str, details: str = "") -> None:
    """Write a record with outcome ``failed`` and, beside it, the traceback; a full disk prevents neither message.

    Where another process is making the run, or has made it, nothing is written: its record is worth more.
    """
    folder = run.folder(results)
    record = Record(
        **run.record_fields(),
        data={"slug": run.corpus},
        model={},
        environment=environment(
            device=run.config.trainer.accelerator,
            precision=run.config.trainer.precision,
            threads=run.config.threads,
        ),
        progress={},
        history={},
        outcome=Outcome(status="failed", step=0, reason=reason),
    )
    with suppress(RecordError, OSError, ExperimentError, Busy), locked(folder):
        if is_finished(run, folder):
            return
        write_atomically(folder / FAILURE_FILE, (details or reason).encode(errors="replace"))
        write_record(folder, record)


def is_finished(run: Run, folder: Path) -> bool:
    """Tell whether the folder holds a record of this very run that no error stopped."""
    try:
        record = read_record(folder)
    except RecordError:
        return False
    return record.config_hash == run.config.hash() and record.outcome.status != "failed"
