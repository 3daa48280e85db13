"""Two runs, or two conditions seed by seed: what each got right, and whether the difference is more than chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiments.errors import ExperimentError
from experiments.reporting.scored_runs import ScoredRun
from experiments.statistics.rows import (
    Answers,
    RowTest,
    bootstrap_interval,
    equally_often_right,
    macro_f1,
    permutation_p_value,
)
from experiments.statistics.seeds import PairedDifference, Spread, spread
from experiments.tasks import CLASSIFICATION


@dataclass(frozen=True)
class MetricDifference:
    """One metric of both sides and their paired difference."""

    metric: str
    first: Spread
    second: Spread
    difference: Spread
    """First minus second, over seeds."""
    p_value: float | None
    """Of the sign-flip permutation over seeds; none for a single pair."""


@dataclass(frozen=True)
class RowDifference:
    """How far two models' macro-F1 would differ on other rows like these."""

    low: float
    """Lower end of the 95 % bootstrap interval of the difference."""
    high: float
    """Upper end."""
    p_value: float
    """Of the permutation of the models' names."""
    unit: str
    """What is resampled and permuted: ``row`` or ``group``."""


@dataclass(frozen=True)
class Comparison:
    """Pairs of runs on the same rows; with several pairs, one per seed.

    Raises:
        ExperimentError: where the runs of a pair did not score the same rows.
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
        """Return every metric of both sides with the paired difference over seeds."""
        found = []
        for metric in (metric.name for metric in CLASSIFICATION.metrics):
            values = np.array([[run.scores.metrics[metric] for run in pair] for pair in self.pairs])
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

        One pair on independent rows: McNemar's exact test. Where rows come in groups, or answers from several seeds,
        signs are flipped by group (else by row) in the sum of differences.
        """
        return equally_often_right(self.right, self.rows["group"] if self.is_grouped else None)

    def row_difference(self) -> RowDifference | None:
        """Compare macro-F1 on rows like these, given these trained weights; None for several seeds.

        Groups are resampled and swapped whole where rows come in groups. The generator is seeded, so the same runs give
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
