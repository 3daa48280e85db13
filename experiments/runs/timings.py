"""How long every run took. Times are apart from records, so that everything else can be equal to the byte."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import groupby
from pathlib import Path

import pandas as pd

from experiments.errors import REMEDY, RecordError
from experiments.runs.naming import run_name
from experiments.runs.record import Record

TIMING_FILE = "timing.csv"
IDENTITY = ["variant", "cell", "seed"]


def gather_timings(
    records: list[Record], origins: Mapping[str, Path], tables: Collection[Path]
) -> tuple[pd.DataFrame, list[str]]:
    """Return one table of the runs' timings, as text, and a note for each local file that cannot be read.

    Args:
        records: the records of the table.
        origins: by run name, its run folder, or the one of ``tables`` whose ``timing.csv`` speaks for it.
        tables: folders of tables, whose files hold the times of many runs; may be absent.

    Raises:
        RecordError: if a table's file is damaged.
    """
    many = {folder: _read(folder / TIMING_FILE) for folder in tables}
    for folder, table in many.items():
        if table is not None and not set(IDENTITY) <= set(table.columns):
            raise RecordError(f"{folder / TIMING_FILE} lacks one of the columns {', '.join(IDENTITY)}")
    places = {folder: {} if table is None else table.groupby(IDENTITY).indices for folder, table in many.items()}
    frames, notes = [], []
    for folder, names in groupby((run_name(record) for record in records), key=lambda name: origins[name]):
        identities = [(*name.split("/")[:2], name.rsplit("_", 1)[1]) for name in names]
        if folder in many:
            table = many[folder]
            if table is not None:
                frames.append(table.iloc[[at for key in identities for at in places[folder].get(key, ())]])
            continue
        (key,) = identities  # a run folder is that of one run
        try:
            run = _read(folder / TIMING_FILE)
        except RecordError as error:
            notes.append(f"left out: {error}")
            continue
        if run is not None:
            run = run.drop(columns=IDENTITY, errors="ignore")
            identity = pd.DataFrame(dict(zip(IDENTITY, key, strict=True)), index=run.index)
            frames.append(pd.concat([identity, run], axis=1))
    if not frames:
        return pd.DataFrame(columns=IDENTITY), notes
    table = pd.concat(frames, ignore_index=True).fillna("")
    return table[[*IDENTITY, *sorted(set(table.columns) - set(IDENTITY))]], notes


def timings_bytes(timings: pd.DataFrame) -> bytes:
    """Return the timings as CSV."""
    return timings.to_csv(index=False, lineterminator="\n").encode()


def _read(path: Path) -> pd.DataFrame | None:
    if not path.exists():
        return None
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:  # pandas' parser errors and UnicodeDecodeError are ValueErrors
        raise RecordError(f"{path} is damaged ({error}); {REMEDY}") from None
