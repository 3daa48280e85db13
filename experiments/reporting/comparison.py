"""Two runs, or two conditions seed by seed: what each got right, and whether the difference is more than chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiments.errors import ExperimentError
from experiments.records.record import METRICS
from experiments.reporting.scored_runs import ScoredRun
from experiments.reporting.statistics import Spread, spread

RESAMPLES = 9_999
FEWEST_SEEDS = 2


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
class RowTest:
    """A test of whether both sides are right equally often, over the rows and not over seeds."""

    name: str
    p_value: float
    units: int
    """Rows or groups on which the sides differ; the others say nothing."""
    unit: str
    """``row`` or ``group``."""


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
        for metric in METRICS:
            values = np.array([[getattr(run.scores, metric) for run in pair] for pair in self.pairs])
            differences = values[:, 0] - values[:, 1]
            p_value = sign_flip(differences) if len(self.pairs) >= FEWEST_SEEDS else None
            found.append(
                MetricDifference(
                    metric,
                    spread(values[:, 0].tolist()),
                    spread(values[:, 1].tolist()),
                    spread(differences.tolist()),
                    p_value,
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
        if len(self.pairs) == 1 and not self.is_grouped:
            totals = self.counts().sum()
            only_first, only_second = int(totals["only_first"]), int(totals["only_second"])
            return RowTest("McNemar's exact test", mcnemar(only_first, only_second), only_first + only_second, "row")
        difference = pd.Series((self.right[:, 0].astype(int) - self.right[:, 1].astype(int)).sum(axis=0))
        unit = "row"
        if self.is_grouped:
            difference, unit = difference.groupby(self.rows["group"].to_numpy()).sum(), "group"
        changed = difference[difference != 0].to_numpy(dtype=float)
        return RowTest(f"sign-flip permutation by {unit}", sign_flip(changed), len(changed), unit)

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


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the p-value of McNemar's exact test (McNemar 1947), two-sided.

    If both sides are right equally often, each row that only one of them gets right falls to either with chance 1/2:
    ``only_first ~ Binomial(only_first + only_second, 1/2)``.
    """
    from scipy.stats import binomtest

    discordant = only_first + only_second
    return float(binomtest(only_first, discordant, 0.5).pvalue) if discordant else 1.0


def sign_flip(differences: NDArray[np.float64]) -> float:
    """Return the two-sided p-value of the sign-flip permutation test of paired differences (Fisher 1935).

    If it did not matter which side is which, every difference could have had the other sign. The statistic is the
    absolute sum; all sign patterns are tried where there are at most 9,999, else 9,999 random ones (seeded).
    """
    from scipy.stats import permutation_test

    if len(differences) < 2 or not np.any(differences):
        return 1.0  # either sign of a single difference is as far from zero
    result = permutation_test(
        (np.asarray(differences, dtype=float),),
        lambda sample, axis: np.abs(sample.sum(axis=axis)),
        permutation_type="samples",
        alternative="greater",
        n_resamples=RESAMPLES,
        batch=500,
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    return float(result.pvalue)
