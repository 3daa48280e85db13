"""What every final run predicted for every test row: one wide table, a column per run."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from experiments.errors import REMEDY, RecordError
from experiments.runs.naming import run_name
from experiments.runs.record import Record
from experiments.runs.run_folder import PREDICTIONS_FILE, check_file

IDENTITY = ("row", "group", "label")


def gather_predictions(
    finals: list[Record], origins: Mapping[str, Path], tables: Collection[Path]
) -> tuple[pd.DataFrame, list[str]]:
    """Return the wide table of predictions and a note for each run whose predictions are missing.

    Args:
        finals: records of final runs.
        origins: by run name, its run folder, or the one of ``tables`` whose ``predictions.parquet`` speaks for it.
        tables: folders of tables, whose files hold a column per run; may be absent.

    Raises:
        RecordError: a file is damaged or is not the one that a record names; two runs give one row different labels; or
            the answers are not those that a record names or counts in its confusion matrix.
    """
    wide = {folder: _read(folder / PREDICTIONS_FILE) for folder in tables}
    of_tables: dict[Path, list[str]] = {}
    frames, notes, unchecked = [], [], 0
    answered = [record for record in finals if record.test is not None and "confusion" in record.test.details]
    for record in answered:
        name = run_name(record)
        folder = origins[name]
        if folder not in wide:
            path = folder / PREDICTIONS_FILE
            unchecked += path.exists() and not check_file(path, record)
            run = _read(folder / PREDICTIONS_FILE, ["predicted"])
            if run is not None:
                frames.append(run.rename(columns={"predicted": name}))
                continue
        elif (table := wide[folder]) is not None and name in table.columns:
            of_tables.setdefault(folder, []).append(name)
            continue
        notes.append(f"{name} has scores but no predictions")
    for folder, names in of_tables.items():  # all runs of a table at once: it may have hundreds
        table = wide[folder]
        assert table is not None
        frames.append(table[[*IDENTITY, *names]].dropna(subset=names, how="all"))
    if unchecked:
        notes.append(f"{unchecked} file(s) of predictions are unchecked: older records name no SHA-256 of them")
    predictions = _widen(frames)
    problems = disagreements(answered, predictions)
    if problems:
        raise RecordError(problems[0] + (f" ({len(problems)} such runs)" if len(problems) > 1 else ""))
    return predictions, notes


def predictions_bytes(predictions: pd.DataFrame) -> bytes:
    """Return the wide table as a Parquet file; equal tables give equal bytes."""
    kinds = {"row": pa.int64(), "group": pa.string()}
    columns = {
        name: pa.array(predictions[name], type=kinds.get(name, pa.int16()), from_pandas=True)
        for name in predictions.columns
    }
    buffer = io.BytesIO()
    parquet.write_table(pa.table(columns), buffer, compression="zstd")
    return buffer.getvalue()


def answers_digest(answers: pd.DataFrame) -> str | None:
    """Return the SHA-256 of a run's answers: ``row, label, predicted`` of every row, in the order of the rows.

    None for a task whose answers are not classes.
    """
    if "label" not in answers.columns or not pd.api.types.is_integer_dtype(answers["label"]):
        return None
    columns = answers.sort_values("row")[["row", "label", "predicted"]]
    return hashlib.sha256(np.ascontiguousarray(columns.to_numpy("<i8")).tobytes()).hexdigest()


def disagreements(finals: list[Record], predictions: pd.DataFrame) -> list[str]:
    """Return the final runs whose recorded confusion matrix, or digest of answers, is not that of their predictions.

    If two answers are exchanged within one true class, the matrix stays the same; the digest changes.
    """
    problems = []
    for record in finals:
        name = run_name(record)
        if record.test is None or "confusion" not in record.test.details or name not in predictions.columns:
            continue
        scored = predictions[predictions[name].notna()]
        classes = len(record.test.details["confusion"])
        pairs = scored[["label", name]].to_numpy(int)
        if pairs.size and not 0 <= pairs.min() <= pairs.max() < classes:
            problems.append(f"{name}: its predictions name a class that is none of the {classes} of its record")
            continue
        confusion = np.zeros((classes, classes), dtype=int)
        np.add.at(confusion, (pairs[:, 0], pairs[:, 1]), 1)
        if confusion.tolist() != record.test.details["confusion"]:
            problems.append(f"{name}: the recorded confusion matrix is not that of its predictions")
        elif record.answers not in (None, answers_digest(scored.rename(columns={name: "predicted"}))):
            problems.append(f"{name}: the predictions are not those that its record names by their SHA-256")
    return problems


def _read(path: Path, wanted: list[str] | None = None) -> pd.DataFrame | None:
    """Read a Parquet file of predictions (``wanted`` columns and the identity, or all); None if it is absent."""
    if not path.exists():
        return None
    try:
        frame = parquet.read_table(path, columns=None if wanted is None else [*IDENTITY, *wanted]).to_pandas()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise RecordError(f"{path} is damaged ({str(error).splitlines()[0][:120]}); {REMEDY}") from None
    missing = [name for name in (*IDENTITY, *(wanted or [])) if name not in frame.columns]
    if missing:
        raise RecordError(f"{path} lacks the column {missing[0]!r}")
    if not frame["row"].is_unique:
        raise RecordError(f"{path} has a row twice; {REMEDY}")
    return frame


def _widen(frames: list[pd.DataFrame]) -> pd.DataFrame:
    """Join tables of runs on their rows, on which all must agree. Each table has a column per run."""
    frames = frames or [pd.DataFrame(columns=list(IDENTITY))]
    identity = pd.concat([frame[list(IDENTITY)] for frame in frames], ignore_index=True)
    identity = identity.astype({"row": "int64", "group": "string", "label": "Int16"})
    identity = identity.drop_duplicates().sort_values("row", kind="stable").set_index("row")
    if not identity.index.is_unique:
        row = identity.index[identity.index.duplicated()][0]
        raise RecordError(f"the runs disagree on the label or group of test row {row}: they scored different rows")
    predicted = [
        frame.set_index("row").drop(columns=["group", "label"]).astype("Int16").reindex(identity.index)
        for frame in frames
    ]
    return pd.concat([identity, pd.concat(predicted, axis=1).sort_index(axis=1)], axis=1).reset_index()
