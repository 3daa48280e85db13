"""What was measured: one JSON file per result and seed while they are made, one committed file per result.

``results/runs/reproductions/<id>/seed_<n>.json`` are local; ``results/reproductions/<id>/measurements.jsonl.gz`` holds
the same and is committed, so that a fresh clone can rebuild every table. If both know a seed, the local one wins.
"""

from __future__ import annotations

import gzip
import time
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.errors import RecordError
from experiments.paths import below
from experiments.runs.canonical import canonical_json, decode, finite_or_none, parse_json
from experiments.runs.run_folder import write_atomically
from experiments.studies.published import PublishedResult
from experiments.studies.study import Row, StudyAtStart

MEASUREMENTS_FILE = "measurements.jsonl.gz"
THREADS = 1


@dataclass(frozen=True, kw_only=True)
class SeedMeasurement:
    """What one seed gave."""

    id: str
    """Id of the published result."""

    config_hash: str
    """Digest of the setup, :meth:`PublishedResult.hash`."""

    seed: int
    rows: list[Row]
    environment: dict[str, Any] = field(default_factory=dict)
    """``torch``: its version, ``threads``: how many computed."""

    def to_json(self) -> str:
        """Write one line of JSON; equal measurements give equal text."""
        return canonical_json(finite_or_none(asdict(self)))

    @staticmethod
    def from_json(text: str, origin: str) -> SeedMeasurement:
        """Read what :meth:`to_json` wrote; ``origin`` names the file in messages.

        Raises:
            RecordError: for text that is malformed, truncated or not a measurement.
        """
        try:
            measurement: SeedMeasurement = decode(SeedMeasurement, parse_json(text))
        except RecordError as error:
            raise RecordError(f"{origin} is not a valid measurement: {error}") from None
        return measurement


def measure_missing(published: Sequence[PublishedResult], results: Path, console: Console) -> int:
    """Measure every seed that has no local measurement of its setup, one after the other, and count them.

    A file is there as soon as its seed is measured, so the same command goes on after a stop.
    """
    import torch

    missing = [(result, seed) for result in published for seed in result.seeds
               if read_local(results, result, seed) is None]  # fmt: skip
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        for number, (result, seed) in enumerate(missing, start=1):
            started = time.monotonic()
            write_local(results, result, measure(result, seed))
            done = f"{number} of {len(missing)}  {result.id} seed {seed}: {result.title}"
            console.print(f"{done}, {time.monotonic() - started:.0f} s", highlight=False)
    finally:
        torch.set_num_threads(threads)
    return len(missing)


def measure(result: PublishedResult, seed: int) -> SeedMeasurement:
    """Measure one seed of a result."""
    import torch

    assert isinstance(result.setup, StudyAtStart), "runs of a grid have no seeds to measure here"
    return SeedMeasurement(
        id=result.id,
        config_hash=result.hash(),
        seed=seed,
        rows=result.setup.measure(seed),
        environment={"torch": torch.__version__.partition("+")[0], "threads": torch.get_num_threads()},
    )


def local_file(results: Path, result: PublishedResult, seed: int) -> Path:
    """Name the file of one seed's measurement."""
    return results / "runs" / "reproductions" / result.id / f"seed_{seed}.json"


def published_folder(results: Path) -> Path:
    """Name the folder of the tables and measurements that are committed."""
    return below(results, "reproductions")


def read_local(results: Path, result: PublishedResult, seed: int) -> SeedMeasurement | None:
    """Read a local measurement of the result's setup; None if it is missing, damaged or of another setup."""
    path = local_file(results, result, seed)
    try:
        measurement = SeedMeasurement.from_json(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError, RecordError):
        return None
    return measurement if measurement.config_hash == result.hash() else None


def write_local(results: Path, result: PublishedResult, measurement: SeedMeasurement) -> Path:
    """Write one seed's measurement atomically and return its path."""
    path = local_file(results, result, measurement.seed)
    write_atomically(path, f"{measurement.to_json()}\n".encode())
    return path


def read_committed(results: Path, result: PublishedResult) -> list[SeedMeasurement]:
    """Read the committed measurements of the result's setup; empty without a file.

    Raises:
        RecordError: if the file is damaged.
    """
    path = below(published_folder(results), result.id) / MEASUREMENTS_FILE
    if not path.exists():
        return []
    try:
        lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise RecordError(f"{path} is damaged ({error}); restore it from version control") from None
    read = [SeedMeasurement.from_json(line, f"{path}, line {number},") for number, line in enumerate(lines, start=1)]
    return [measurement for measurement in read if measurement.config_hash == result.hash()]


def gather(results: Path, result: PublishedResult) -> list[SeedMeasurement]:
    """Collect the measurement of every seed that has one, sorted by seed; local ones are the first choice.

    Raises:
        RecordError: if a file is damaged, or a row does not have the study's columns.
    """
    found = {measurement.seed: measurement for measurement in read_committed(results, result)}
    found |= {seed: local for seed in result.seeds if (local := read_local(results, result, seed)) is not None}
    columns = {*result.setup.keys, *result.setup.values}
    for seed, measurement in found.items():
        if any(row.keys() != columns for row in measurement.rows):
            expected = ", ".join(sorted(columns))
            raise RecordError(f"seed {seed} of {result.id} has a row without exactly the columns {expected}")
    return [found[seed] for seed in result.seeds if seed in found]


def committed_bytes(measurements: Iterable[SeedMeasurement]) -> bytes:
    """Pack the committed file of a result; equal measurements give equal bytes."""
    lines = "".join(f"{measurement.to_json()}\n" for measurement in measurements)
    return gzip.compress(lines.encode(), compresslevel=9, mtime=0)
