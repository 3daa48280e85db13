"""Finished runs with their predictions, read from run folders or from a condition's folder. Free of torch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiments.errors import ExperimentError
from experiments.planning.saved_runs import existing_folder, is_run_folder, runs_below
from experiments.runs.errors import RecordError
from experiments.runs.files import RECORD_FILE, read_record
from experiments.runs.predictions import PREDICTIONS_FILE
from experiments.runs.record import Record, Scores


@dataclass(frozen=True)
class ScoredRun:
    """A run that made predictions."""

    folder: Path
    record: Record
    predictions: pd.DataFrame
    """``row, group, label, predicted, probability_<class index>``, sorted by row."""

    @property
    def split(self) -> str:
        """The split that was predicted: test by final runs, validation by tuning runs."""
        return "test" if self.record.stage == "final" else "validation"

    @property
    def scores(self) -> Scores:
        """Scores on that split."""
        scores = self.record.test if self.record.stage == "final" else self.record.validation
        if scores is None:
            raise ExperimentError(f"{self.folder} has predictions but no scores on the {self.split} split")
        return scores

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """(rows, classes) class probabilities."""
        columns = [f"probability_{index}" for index in range(len(self.record.data["classes"]))]
        return self.predictions[columns].to_numpy(dtype=np.float64)


@dataclass(frozen=True)
class Side:
    """What a person names on one side of a comparison: a run, or a condition with its seeds."""

    name: str
    runs: dict[int, ScoredRun]
    """By seed."""
    is_condition: bool
    left_out: tuple[str, ...] = ()
    """One sentence for each run of the condition that has no predictions."""


def read_side(name: str) -> Side:
    """Read a run folder, or a condition folder ``results/runs/<grid>/<corpus>/<condition>/<cell>``.

    Raises:
        ExperimentError: where it is neither, or no run in it has predictions.
    """
    folder = existing_folder(name)
    if is_run_folder(folder):
        run = read_run(folder)
        return Side(name, {run.record.seed: run}, is_condition=False)
    children = [child for child in folder.iterdir() if re.fullmatch(r"seed_\d+", child.name) and is_run_folder(child)]
    if not children:
        raise ExperimentError(f"{name} is neither a run folder nor a condition's folder of seeds; {runs_below(folder)}")
    runs, left_out = {}, []
    for child in sorted(children, key=lambda path: int(path.name.partition("_")[2])):
        try:
            run = read_run(child)
            runs[run.record.seed] = run
        except ExperimentError as error:
            left_out.append(str(error))
    if not runs:
        raise ExperimentError(f"no run of {name} has predictions: {left_out[0]}")
    return Side(name, runs, is_condition=True, left_out=tuple(left_out))


def read_run(folder: Path) -> ScoredRun:
    """Read the record and the predictions of a run.

    Raises:
        ExperimentError: where the run is unfinished, made no predictions, or a file is damaged.
    """
    if not (folder / RECORD_FILE).is_file():
        raise ExperimentError(f"{folder} is not finished: it has no {RECORD_FILE}")
    record = read_record(folder)
    path = folder / PREDICTIONS_FILE
    if not path.is_file():
        outcome = record.outcome
        reason = f": the run {outcome.status} ({outcome.reason})" if outcome.status in ("diverged", "failed") else ""
        raise ExperimentError(f"{folder} has no {PREDICTIONS_FILE}{reason}")
    wanted = ["row", "group", "label", "predicted"]
    wanted += [f"probability_{index}" for index in range(len(record.data["classes"]))]
    try:
        predictions = pd.read_parquet(path, columns=wanted)
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise RecordError(f"{path} is damaged ({str(error).splitlines()[0][:120]})") from None
    return ScoredRun(folder, record, predictions.sort_values("row", ignore_index=True))


def pair_up(first: Side, second: Side) -> list[tuple[ScoredRun, ScoredRun]]:
    """Return the runs to compare: the two runs, or those of the seeds that both conditions have.

    Raises:
        ExperimentError: where the sides cannot be compared.
    """
    if first.is_condition != second.is_condition:
        raise ExperimentError(
            "one side is a run and the other a condition; name two runs (…/seed_<n>) or two conditions (their folders)"
        )
    check_comparable([*first.runs.values(), *second.runs.values()])
    if not first.is_condition:
        return [(next(iter(first.runs.values())), next(iter(second.runs.values())))]
    seeds = sorted(first.runs.keys() & second.runs.keys())
    if not seeds:
        raise ExperimentError(
            f"the conditions share no seed: {first.name} has {listed(first.runs)}, {second.name} has "
            f"{listed(second.runs)}"
        )
    return [(first.runs[seed], second.runs[seed]) for seed in seeds]


def check_comparable(runs: list[ScoredRun]) -> None:
    """Raise :class:`ExperimentError` unless all runs scored the same split of the same text."""
    reference = runs[0]

    def facts(run: ScoredRun) -> dict[str, Any]:
        data = run.record.data
        return {
            "stage": run.record.stage,
            "fingerprint": f"{data['slug']} {data['fingerprint']}",
            "split hash": data["split_hash"],
            "classes": ", ".join(data["classes"]),
        }

    for run in runs[1:]:
        for name, value in facts(run).items():
            expected = facts(reference)[name]
            if value != expected:
                raise ExperimentError(
                    f"the runs cannot be compared, their {name} differs: {reference.folder} has {expected}, "
                    f"{run.folder} has {value}"
                )


def listed(seeds: Iterable[int]) -> str:
    """Return ``seeds 0, 1, 2``."""
    return f"seeds {', '.join(map(str, sorted(seeds)))}"
