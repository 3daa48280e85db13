"""How long every run took. Times stand apart from records, so that everything else can be equal to the byte."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from experiments.runs.errors import REMEDY, RecordError
from experiments.runs.naming import run_name
from experiments.runs.record import Record

TIMING_FILE = "timing.csv"
IDENTITY = ["variant", "cell", "seed"]


def gather_timings(
    records: list[Record], folders: Mapping[str, Path | None], committed_folder: Path
) -> tuple[pd.DataFrame, list[str]]:
    """Return one table of the runs' timings, as text, and a note for each local file that cannot be read.

    Args:
        records: the records of the table.
        folders: run folder by run name; ``None`` where the committed timings speak for the run.
        committed_folder: holds the committed ``timing.csv``, if any.

    Raises:
        RecordError: where the committed file is damaged.
    """
    committed = _read(committed_folder / TIMING_FILE)
    if committed is not None and not set(IDENTITY) <= set(committed.columns):
        raise RecordError(f"{committed_folder / TIMING_FILE} lacks one of the columns {', '.join(IDENTITY)}")
    frames, notes = [], []
    for name in (run_name(record) for record in records):
        variant, cell, seed = *name.split("/")[:2], name.rsplit("_", 1)[1]
        folder = folders[name]
        if folder is None and committed is not None:
            mine = (committed["variant"] == variant) & (committed["cell"] == cell) & (committed["seed"] == seed)
            frames.append(committed[mine])
        elif folder is not None:
            try:
                run = _read(folder / TIMING_FILE)
            except RecordError as error:
                notes.append(f"left out: {error}")
                continue
            if run is not None:
                run = run.drop(columns=IDENTITY, errors="ignore")
                identity = pd.DataFrame({"variant": variant, "cell": cell, "seed": seed}, index=run.index)
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
