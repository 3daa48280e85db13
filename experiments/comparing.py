"""The engine of ``compare``: it pairs finished runs with their predictions and tests whether they differ by chance.

Two runs, or two conditions seed by seed. Free of torch.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiments.errors import ExperimentError, RecordError
from experiments.planning.saved_runs import existing_folder, is_run_folder, runs_below
from experiments.reporting.frame import metrics_of
from experiments.runs.record import Record
from experiments.runs.run_folder import PREDICTIONS_FILE, RECORD_FILE, check_file, read_record
from experiments.statistics.rows import (
    Answers,
    RowTest,
    bootstrap_interval,
    equally_often_right,
    macro_f1,
    permutation_p_value,
)
from experiments.statistics.seeds import PairedDifference, Spread, spread
from experiments.tasks import Metric

LOGGER = logging.getLogger(__name__)


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

    def score(self, metric: str) -> float:
        """Return a metric on that split.

        Raises:
            ExperimentError: the run has predictions but lacks the metric.
        """
        value = self.record.score(self.split, metric)
        if value is None:
            raise ExperimentError(f"{self.folder} has predictions but no {metric} on the {self.split} split")
        return value

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """(rows, classes) class probabilities."""
        columns = [f"probability_{index}" for index in range(len(self.record.data["classes"]))]
        return self.predictions[columns].to_numpy(dtype=np.float64)


@dataclass(frozen=True)
class ComparedSide:
    """What a person names on one side of a comparison: a run, or a condition with its seeds."""

    name: str
    runs: dict[int, ScoredRun]
    """By seed."""
    is_condition: bool
    left_out: tuple[str, ...] = ()
    """One sentence for each run of the condition that has no predictions."""


def read_side(name: str) -> ComparedSide:
    """Read a run folder, or a condition folder ``results/runs/<grid>/<corpus>/<condition>/<cell>``.

    Raises:
        ExperimentError: it is neither, or no run in it has predictions.
    """
    folder = existing_folder(name)
    if is_run_folder(folder):
        run = read_run(folder)
        return ComparedSide(name, {run.record.seed: run}, is_condition=False)
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
    return ComparedSide(name, runs, is_condition=True, left_out=tuple(left_out))


def read_run(folder: Path) -> ScoredRun:
    """Read the record and the predictions of a run.

    Raises:
        ExperimentError: the run is unfinished, made no predictions, or a file is damaged.
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
    if not check_file(path, record):
        LOGGER.warning("%s is unchecked: its record is older and names no SHA-256 of it", path)
    try:
        predictions = pd.read_parquet(path, columns=wanted)
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise RecordError(f"{path} is damaged ({str(error).splitlines()[0][:120]})") from None
    run = ScoredRun(folder, record, predictions.sort_values("row", ignore_index=True))
    answers = predictions[["label", "predicted"]]
    if not (answers.isin(range(len(record.data["classes"]))).all(axis=None) and np.isfinite(run.probabilities).all()):
        raise RecordError(f"{path} is damaged: an answer is no class of the record, or a probability is not finite")
    return run


def pair_up(first: ComparedSide, second: ComparedSide) -> list[tuple[ScoredRun, ScoredRun]]:
    """Return the runs to compare: the two runs, or those of the seeds that both conditions have.

    Raises:
        ExperimentError: the sides cannot be compared.
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


@dataclass(frozen=True)
class MetricDifference:
    """One metric of both sides and their paired difference."""

    metric: Metric
    first: Spread
    second: Spread
    difference: Spread
    """First minus second, over seeds."""
    p_value: float | None
    """P-value of the sign-flip permutation test over seeds; None for a single pair."""


@dataclass(frozen=True)
class RowDifference:
    """How far two models' macro-F1 would differ on other rows like these."""

    low: float
    """Lower end of the 95 % bootstrap interval of the difference."""
    high: float
    """Upper end."""
    p_value: float
    """P-value of the permutation test that swaps the models' names."""
    unit: str
    """What is resampled and permuted: ``row`` or ``group``."""


@dataclass(frozen=True)
class RunComparison:
    """Pairs of runs on the same rows; with several pairs, one per seed.

    Raises:
        ExperimentError: the runs of a pair did not score the same rows.
    """

    pairs: Sequence[tuple[ScoredRun, ScoredRun]]

    def __post_init__(self) -> None:
        identity = self.rows
        for run in (run for pair in self.pairs for run in pair):
            if not np.array_equal(run.predictions[["row", "label"]].to_numpy(), identity[["row", "label"]].to_numpy()):
                raise ExperimentError(f"{run.folder} scored other rows than {self.pairs[0][0].folder}")

    @property
    def rows(self) -> pd.DataFrame:
        """``row, group, label`` of the rows that all runs scored."""
        return self.pairs[0][0].predictions[["row", "group", "label"]]

    @property
    def classes(self) -> list[str]:
        """Names of the classes, in label order."""
        return self.pairs[0][0].record.data["classes"]

    @property
    def is_grouped(self) -> bool:
        """Whether rows hang together, so that they are not independent observations."""
        return bool(self.rows["group"].notna().any())

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """(pairs, 2, rows) whether each side answered each row rightly."""
        return np.array(
            [
                [(run.predictions["predicted"] == run.predictions["label"]).to_numpy() for run in pair]
                for pair in self.pairs
            ]
        )

    def metrics(self) -> list[MetricDifference]:
        """Return every metric that all runs have, of both sides, with the paired difference over seeds."""
        found = []
        for metric in metrics_of([run.record for pair in self.pairs for run in pair]):
            values = np.array([[run.score(metric.name) for run in pair] for pair in self.pairs])
            differences = PairedDifference(tuple(range(len(values))), tuple((values[:, 0] - values[:, 1]).tolist()))
            found.append(
                MetricDifference(
                    metric,
                    spread(values[:, 0].tolist()),
                    spread(values[:, 1].tolist()),
                    differences.spread(),
                    differences.sign_flip_p_value,
                )
            )
        return found

    def counts(self) -> pd.DataFrame:
        """Return rows by who was right, summed over pairs: a line per class.

        Columns ``both``, ``only_first``, ``only_second``, ``neither``; the index names the true class.
        """
        first, second = self.right[:, 0], self.right[:, 1]
        cases = {
            "both": first & second,
            "only_first": first & ~second,
            "only_second": ~first & second,
            "neither": ~first & ~second,
        }
        labels = self.rows["label"].to_numpy()
        return pd.DataFrame(
            {
                name: [int(case[:, labels == index].sum()) for index in range(len(self.classes))]
                for name, case in cases.items()
            },
            index=pd.Index(self.classes, name="class"),
        )

    def row_test(self) -> RowTest:
        """Test whether both sides are right equally often on rows like these, given these trained weights.

        One pair on independent rows: McNemar's exact test. If rows come in groups, or answers from several seeds,
        signs are flipped by group (else by row) in the sum of differences.
        """
        return equally_often_right(self.right, self.rows["group"] if self.is_grouped else None)

    def row_difference(self) -> RowDifference | None:
        """Compare macro-F1 on rows like these, given these trained weights; None for several seeds.

        Groups are resampled and swapped whole if rows come in groups. The generator is seeded, so the same runs give
        the same numbers.
        """
        if len(self.pairs) > 1:
            return None
        (pair,) = self.pairs
        groups = pd.factorize(self.rows["group"])[0] if self.is_grouped else None
        first, second = (run.predictions["predicted"].to_numpy() for run in pair)
        answers = Answers(self.rows["label"].to_numpy(), first, second, groups)
        generator = np.random.default_rng(0)
        low, high = bootstrap_interval(answers, macro_f1, generator)
        p_value = permutation_p_value(answers, macro_f1, generator)
        return RowDifference(low, high, p_value, "group" if self.is_grouped else "row")

    def disagreements(self) -> pd.DataFrame:
        """Return the rows on which the sides answer differently, the most confident ones first.

        Columns ``row, label, first, first_probability, second, second_probability`` (class indices). With several
        seeds a side's answer is the most probable class by its mean probabilities.
        """
        sides = [np.mean([pair[index].probabilities for pair in self.pairs], axis=0) for index in (0, 1)]
        table = self.rows[["row", "label"]].copy()
        for name, probabilities in zip(("first", "second"), sides, strict=True):
            table[name] = probabilities.argmax(axis=1)
            table[f"{name}_probability"] = probabilities.max(axis=1)
        table = table[table["first"] != table["second"]]
        confidence = table["first_probability"] + table["second_probability"]
        return table.loc[confidence.sort_values(ascending=False, kind="stable").index].reset_index(drop=True)
