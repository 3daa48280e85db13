"""A worker process: it starts once, then makes one run after another; a run that an error stops leaves a record too."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from data_modules.errors import DataError
from experiments.errors import ExperimentError, RecordError
from experiments.making.messages import Failed, Finished, Skipped
from experiments.planning.runs import Run
from experiments.runs.provenance import environment
from experiments.runs.record import Outcome, Record
from experiments.runs.run_folder import UNSEEN, Busy, Mark, locked, read_record, write_atomically, write_record
from experiments.tasks import task_named
from lightning_modules.errors import ConfigurationError
from lightning_modules.schemes.own_files import SchemeFile, load_scheme_file

FAILURE_FILE = "failure.txt"


def write_failure(run: Run, results: Path, reason: str, details: str = "") -> None:
    """Write a record with outcome ``failed`` and a file with the traceback. Even on a full disk the message is sent.

    If another process is making the run, or has made it, nothing is written: its record is worth more.
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


def serve(connection: Connection, schemes: Sequence[SchemeFile] = ()) -> None:
    """Make the runs that arrive on ``connection`` until it closes; the parent handles Ctrl-C.

    ``schemes`` are the files that the parent's command line named, as the parent read them.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=leave_with_parent, daemon=True).start()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for file in schemes:
        load_scheme_file(file)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the parent is gone: so are we
        while True:
            run, results, seen = connection.recv()
            connection.send(make(run, results, connection.send, seen))


def leave_with_parent() -> None:
    """End this process when its parent has ended in any way, since nobody would learn of its run's end."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def make(
    run: Run, results: Path, send: Callable[[Any], None] = lambda progress: None, seen: Mark = UNSEEN
) -> Finished | Skipped | Failed:
    """Make one run and say how it ended.

    Args:
        run: which run.
        results: the folder of all results.
        send: gets the run's progress.
        seen: mark of the record that the run replaces; if another one is there by now, another process made the run
            since, and it is ``Skipped``.
    """
    # Imported here, so that starting a worker and importing torch and lightning overlap with the parent's work.
    from experiments.runs.execute import execute

    try:
        record = execute(run, results, send, seen)
    except (BrokenPipeError, ConnectionResetError):
        raise
    except Busy:
        return Skipped()
    except Exception as error:
        if is_mistake(error):
            return Failed(str(error), mistake=True)
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        write_failure(run, results, reason, traceback.format_exc())
        return Failed(reason, mistake=False)
    metric = task_named(record.task).primary_metric
    return Finished(record.outcome, record.score("validation", metric.name), metric.title)


def is_mistake(error: Exception) -> bool:
    """Tell whether a user can mend the error. Such an error stops the grid; any other costs only its run.

    A record that cannot be written is a matter of the disk; a record with forbidden contents is our defect.
    """
    if isinstance(error, RecordError):
        return isinstance(error.__cause__, OSError)
    return isinstance(error, ExperimentError | DataError | ConfigurationError)
