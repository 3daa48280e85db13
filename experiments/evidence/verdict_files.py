"""Verdicts and the numbers behind them, seed by seed: ``verdicts/claims.csv`` and ``verdicts/<claim>.csv``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

from experiments.evidence.judge import Effect, Judgement
from experiments.evidence.quantities import Value
from experiments.reporting.render import Grid, to_csv
from experiments.runs.files import write_atomically
from experiments.statistics.censoring import Time
from experiments.statistics.verdicts import VerdictName

FOLDER = "verdicts"
COLUMNS = ["part", "corpus", "measure", "seed", "treatment", "control"]


def write_verdict_files(judgements: Sequence[Judgement], results: Path) -> list[Path]:
    """Write the overview and the numbers of every claim with recorded runs; remove tables of claims without.

    Raises:
        RecordError: where a file cannot be written.
    """
    written = [write_overview(judgements, results)]
    written += [path for path in (write_by_seed(judgement, results) for judgement in judgements) if path is not None]
    for path in (results / FOLDER).glob("*.csv"):
        if path not in written:
            path.unlink()
    return written


def write_overview(judgements: Sequence[Judgement], results: Path) -> Path:
    """Write every claim's verdict, and how many of its parts on confirmatory corpora went which way.

    Raises:
        RecordError: where the file cannot be written.
    """
    rows = []
    for judgement in judgements:
        counts = Counter(effect.verdict.name for effect in judgement.confirmatory)
        parts = [str(counts[name]) for name in get_args(VerdictName)]
        rows.append([judgement.label, judgement.claim.claim["en"], judgement.verdict.name, *parts])
    path = results / FOLDER / "claims.csv"
    columns = ["number", "claim", "verdict", *(f"parts {name}" for name in get_args(VerdictName))]
    write_atomically(path, to_csv(Grid(columns, rows)).encode())
    return path


def write_by_seed(judgement: Judgement, results: Path) -> Path | None:
    """Write what a claim's measures are on both sides, for all seeds that are recorded.

    Returns None where no run is recorded.

    A cell is empty where a run has no value. ``<30`` is a time before the first validation at step 30, ``>500`` one
    beyond the budget; shares of failed runs are over the swept values of a seed.

    Raises:
        RecordError: where the file cannot be written.
    """
    rows = [row for effect in judgement.effects for row in rows_of(effect)]
    if not rows:
        return None
    path = results / FOLDER / f"{judgement.claim.id}.csv"
    write_atomically(path, to_csv(Grid(COLUMNS, rows)).encode())
    return path


def rows_of(effect: Effect) -> Iterator[list[str]]:
    """Yield a row for every seed and component of an effect."""
    measurement = effect.measurement
    treatment, control = measurement.comparison.treatment, measurement.comparison.control
    for seed in sorted(treatment.keys() | control.keys()):
        sides = [cells(side.get(seed)) for side in (treatment, control)]
        components = dict.fromkeys(name for side in sides for name in side if name) or [""]
        for component in components:
            what = f"{measurement.part.metric}: {component}" if component else measurement.part.metric
            values = [side.get(component, "") for side in sides]
            yield [measurement.part.id, measurement.corpus, what, str(seed), *values]


def cells(value: Value) -> dict[str, str]:
    """Return a value's cells by component; the only one of a plain value is ``""``."""
    match value:
        case None:
            return {"": ""}
        case Time():
            return {"": f"{bound(value)}{value.value:.6g}"}
        case tuple():
            return {"": f"{sum(value) / len(value):.6g}"}
        case dict():
            return {name: f"{number:.6g}" for name, number in value.items()}
    return {"": f"{value:.6g}"}


def bound(time: Time) -> str:
    """Return how a time is only known to lie: before (``<``), after (``>``); nothing where it is known."""
    return ">" if not time.reached else "<" if time.at_first_look else ""
