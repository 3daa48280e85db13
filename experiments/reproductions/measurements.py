"""What was measured: one JSON file per result and seed while they are made, one committed file per result.

``results/runs/reproductions/<id>/seed_<n>.json`` are local; ``results/reproductions/<id>/measurements.jsonl.gz`` holds
the same and is committed, so that a fresh clone can rebuild every table. Where both know a seed, the local one wins.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from experiments.reproductions.claim import Claim
from experiments.runs.canonical import canonical_json, decode, finite_or_none, parse_json
from experiments.runs.errors import RecordError
from experiments.runs.files import write_atomically

Row = dict[str, Any]
"""One line of a measurement: what it was measured on, and numbers; ``None`` for a number that is not finite."""

MEASUREMENTS_FILE = "measurements.jsonl.gz"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What one seed gave."""

    id: str
    """The claim's id."""

    config_hash: str
    """Digest of the setup, :meth:`Claim.hash`."""

    seed: int
    rows: list[Row]
    environment: dict[str, Any] = field(default_factory=dict)
    """``torch``: its version, ``threads``: how many computed."""

    def to_json(self) -> str:
        """Return one line of JSON; equal measurements give equal text."""
        return canonical_json(finite_or_none(asdict(self)))

    @staticmethod
    def from_json(text: str, origin: str) -> Measurement:
        """Read what :meth:`to_json` wrote; ``origin`` names the file in messages.

        Raises:
            RecordError: for text that is malformed, truncated or not a measurement.
        """
        try:
            measurement: Measurement = decode(Measurement, parse_json(text))
        except RecordError as error:
            raise RecordError(f"{origin} is not a valid measurement: {error}") from None
        return measurement


def local_file(results: Path, claim: Claim, seed: int) -> Path:
    """Return the file of one seed's measurement."""
    return results / "runs" / "reproductions" / claim.id / f"seed_{seed}.json"


def result_folder(results: Path, claim: Claim) -> Path:
    """Return the folder of a result's tables and figure."""
    return results / "reproductions" / claim.id


def read_local(results: Path, claim: Claim, seed: int) -> Measurement | None:
    """Return a local measurement of the claim's setup; none where it is missing, damaged or of another setup."""
    path = local_file(results, claim, seed)
    try:
        measurement = Measurement.from_json(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError, RecordError):
        return None
    return measurement if measurement.config_hash == claim.hash() else None


def write_local(results: Path, claim: Claim, measurement: Measurement) -> Path:
    """Write one seed's measurement atomically and return its path."""
    path = local_file(results, claim, measurement.seed)
    write_atomically(path, f"{measurement.to_json()}\n".encode())
    return path


def read_committed(results: Path, claim: Claim) -> list[Measurement]:
    """Return the committed measurements of the claim's setup; none where there is no file.

    Raises:
        RecordError: where the file is damaged.
    """
    path = result_folder(results, claim) / MEASUREMENTS_FILE
    if not path.exists():
        return []
    try:
        lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise RecordError(f"{path} is damaged ({error}); restore it from version control") from None
    read = [Measurement.from_json(line, f"{path}, line {number},") for number, line in enumerate(lines, start=1)]
    return [measurement for measurement in read if measurement.config_hash == claim.hash()]


def gather(results: Path, claim: Claim) -> list[Measurement]:
    """Return the measurement of every seed of the claim that has one, local ones first choice, sorted by seed."""
    found = {measurement.seed: measurement for measurement in read_committed(results, claim)}
    found |= {seed: local for seed in claim.seeds if (local := read_local(results, claim, seed)) is not None}
    return [found[seed] for seed in claim.seeds if seed in found]


def committed_bytes(measurements: Iterable[Measurement]) -> bytes:
    """Return the committed file of a result; equal measurements give equal bytes."""
    lines = "".join(f"{measurement.to_json()}\n" for measurement in measurements)
    return gzip.compress(lines.encode(), compresslevel=9, mtime=0)
