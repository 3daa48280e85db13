"""The files that a run leaves in its folder, as bytes that come from another machine and are not trusted.

Only files of known names, which lie in the run's folder itself, are taken from an archive. The archive must hold the
record of the run that was asked for. ``config.yaml`` is none of them: it names folders of the machine that wrote it.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from pathlib import Path

from experiments.errors import RecordError, explained
from experiments.making.worker import FAILURE_FILE
from experiments.planning.runs import Run
from experiments.planning.saved_runs import CONFIG_FILE
from experiments.planning.yaml_files import write_yaml
from experiments.runs.merging import run_key
from experiments.runs.record import Record
from experiments.runs.run_folder import NAMED, RECORD_FILE, remove_earlier_attempt, write_record

KNOWN = re.compile(
    rf"metrics\.csv|hparams\.yaml|predictions\.parquet|timing\.csv|best\.ckpt|{re.escape(FAILURE_FILE)}"
    rf"|{re.escape(RECORD_FILE)}|events\.out\.tfevents\.[A-Za-z0-9._-]+"
)


class ArchiveError(ValueError):
    """An archive does not hold what the run should leave."""


def pack_run(folder: Path) -> bytes:
    """Return the known files of a run's folder as a zip file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            if path.is_file() and KNOWN.fullmatch(path.name):
                archive.write(path, path.name)
    return buffer.getvalue()


def unpack_run(archive: bytes, run: Run, results: Path, fingerprint: str) -> Record:
    """Write what a run left to its folder, the record last, and return the record; the caller holds the folder's lock.

    Raises:
        ArchiveError: for anything but known files and a record of this run, made on the text with this fingerprint;
            nothing is written then.
        ExperimentError, RecordError: if the folder cannot be written.
    """
    files = read_archive(archive)
    record = checked_record(files.pop(RECORD_FILE, b""), run, fingerprint)
    refuse_other_contents(files, record)
    folder = run.folder(results)
    with explained(folder):
        remove_earlier_attempt(folder)
        write_yaml(folder / CONFIG_FILE, run.config.as_dict())
        for name, content in files.items():
            (folder / name).write_bytes(content)
    write_record(folder, record)
    return record


def read_archive(archive: bytes) -> dict[str, bytes]:
    """Return the files of an archive by name.

    Raises:
        ArchiveError: if it is damaged, or holds a file whose name is not known, such as one outside the folder.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            names = opened.namelist()
            for name in names:
                if not KNOWN.fullmatch(name):
                    raise ArchiveError(f"it holds {name!r}, which is no file of a run")
            return {name: opened.read(name) for name in names}
    except ArchiveError:
        raise
    except Exception as error:  # untrusted bytes: zipfile and its decompressors have many ways to refuse them
        raise ArchiveError(f"it is damaged ({error})") from None


def checked_record(content: bytes, run: Run, fingerprint: str) -> Record:
    """Return a record if it is one of this run.

    Raises:
        ArchiveError: if it is not.
    """
    try:
        record = Record.from_json(content.decode())
    except (RecordError, UnicodeDecodeError) as error:
        raise ArchiveError(f"its record is none ({error})") from None
    expected = (run.grid, run.corpus, (run.condition, run.stage, run.config.hash(), run.seed))
    if (record.grid, record.corpus, run_key(record)) != expected:
        raise ArchiveError(f"its record is that of {record.condition}, seed {record.seed}, of grid {record.grid}")
    if record.outcome.status != "failed" and record.data.get("fingerprint") != fingerprint:
        raise ArchiveError("the run was made on another text")
    return record


def refuse_other_contents(files: dict[str, bytes], record: Record) -> None:
    """Refuse predictions or a checkpoint whose digest is not the one in the record, or is not in the record.

    Raises:
        ArchiveError: naming the file. A run that an error stopped names none.
    """
    found = {name: hashlib.sha256(content).hexdigest() for name, content in files.items() if name in NAMED}
    if record.outcome.status == "failed":
        return
    for name in NAMED:
        if found.get(name) != record.files.get(name):
            raise ArchiveError(f"its {name} is not the one that its record names")
