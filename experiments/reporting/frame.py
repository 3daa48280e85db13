"""The runs of a grid as one DataFrame, and its rows: the final runs of one condition at one setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import pandas as pd

from experiments.reporting.render import spoken_setting
from experiments.reporting.split import ScoredSplit
from experiments.runs.canonical import canonical_json
from experiments.runs.naming import TFIDF, WITHOUT_NETWORK, order_conditions, sort_key
from experiments.runs.record import Record, Scores, Status
from experiments.runs.store import Evidence
from experiments.statistics.censoring import median_steps
from experiments.statistics.components import SEEDS_ONLY, MeanEstimate, SeedScores
from experiments.statistics.outcomes import TrainedShare, trained_share
from experiments.statistics.seeds import FEWEST_PAIRS, Spread, paired_difference, spread
from experiments.statistics.words import DELTA, Endings
from experiments.tasks import TRIGRAM, UNIGRAM, Metric, TaskSpec, task_named
from lightning_modules.schemes.variants import VARIANTS

TARGET_SHARE = 0.9
"""``steps_to_target``: share of the TF-IDF baseline's validation score that a run has to reach."""
BASELINE_TITLES = {
    TFIDF: "TF-IDF + logistic regression",
    UNIGRAM: "unigram",
    TRIGRAM: "interpolated trigram (Kneser-Ney)",
}
SCORED_SPLITS = ("validation", "train", "test")


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a report says about its grid, apart from the numbers."""

    arguments: str
    """What names the grid on its corpus on a command line."""
    title: str
    purpose: str = ""
    """One or two sentences: the question that the grid answers."""
    data_note: str = ""
    """Sentences a reader must know about the data or the budget."""
    conditions: tuple[str, ...] = ()
    """Condition names in the order of the grid."""
    titles: Mapping[str, str] = field(default_factory=dict)
    """Names for people, if they differ from the registry's."""
    listed_trials: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """The trials that a widened grid lists for each condition, to tell further trials from them; else empty."""

    planned: Sequence[tuple[str, Mapping[str, Any]]] = ()
    """Condition and swept values of every row that the grid plans; empty if that is not known."""
    seeds: Sequence[int] = ()
    """Seeds that it plans for every row of a network."""
    delta: float = DELTA
    """Smallest difference in the primary metric that matters."""

    def title_of(self, condition: str) -> str:
        """Return a condition's name for people."""
        if condition in self.titles:
            return self.titles[condition]
        if condition in BASELINE_TITLES:
            return BASELINE_TITLES[condition]
        return VARIANTS[condition].title if condition in VARIANTS else condition


def runs_frame(records: Sequence[Record], metrics: Sequence[Metric]) -> pd.DataFrame:
    """Return one line per run.

    Columns are ``condition``, every swept value by its dotted name, ``seed``, ``status`` and ``<split>_<metric>`` for
    the splits validation, train and test. What a run lacks is missing (NaN).
    """
    lines = []
    for record in records:
        line = {"condition": record.condition, **record.swept, "seed": record.seed, "status": record.outcome.status}
        for split in SCORED_SPLITS:
            line |= {f"{split}_{metric.name}": record.score(split, metric.name) for metric in metrics}
        lines.append(line)
    scores = [f"{split}_{metric.name}" for split in SCORED_SPLITS for metric in metrics]
    return pd.DataFrame(lines).astype(dict.fromkeys(scores, float))


@dataclass(frozen=True, eq=False)
class Row:
    """Final runs that differ in nothing but the seed."""

    condition: str
    title: str
    swept: dict[str, Any]
    records: tuple[Record, ...]
    """Sorted by seed."""
    runs: pd.DataFrame
    """Their lines of :func:`runs_frame`, in the same order."""
    target: float | None
    """Primary metric on validation that ``steps_to_target`` asks for; None without a TF-IDF baseline."""
    split: ScoredSplit
    """The answers behind the test scores."""

    @property
    def label(self) -> str:
        """Title and swept values, for headings and figures."""
        return label_of(self.title, self.swept)

    @property
    def task(self) -> TaskSpec:
        """What the runs were trained for."""
        return task_named(self.records[0].task)

    @property
    def score(self) -> Spread:
        """The task's primary metric on the test split, over the runs that have it."""
        return self.test(self.task.primary)

    def test(self, metric: str) -> Spread:
        """Return mean and standard deviation over the runs that have a test metric, and the interval of the mean.

        The interval is of seeds and test rows: see :mod:`experiments.statistics.components`.
        """
        found = spread(self.runs[f"test_{metric}"].dropna().tolist())
        return _with_ends(found, self.estimate(metric))

    def estimate(self, metric: str) -> MeanEstimate | None:
        """Return the mean of a test metric with both components of its variance; None for fewer than two runs."""
        return self.seed_scores(metric).mean()

    def seed_scores(self, metric: str) -> SeedScores:
        """Return a test metric by seed, with what it would be on resampled test rows."""
        if metric not in self._seed_scores:
            scores = self.scores_by_seed(metric)
            self._seed_scores[metric] = self.split.seed_scores(self.records, metric, scores)
        return self._seed_scores[metric]

    def scores_by_seed(self, metric: str | None = None) -> dict[int, float]:
        """Return a test metric by seed, the primary one by default, for the runs that have it."""
        found = self.runs.set_index("seed")[f"test_{metric or self.task.primary}"].dropna()
        return {int(str(seed)): float(score) for seed, score in found.items()}

    def minus(self, other: Row) -> Spread:
        """Return the spread of this row minus another row in the primary metric, over the seeds that both have.

        The interval is of seeds and test rows.
        """
        found = paired_difference(self.scores_by_seed(), other.scores_by_seed()).spread()
        return _with_ends(found, self.effect(other))

    def effect(self, other: Row) -> MeanEstimate | None:
        """Return this row minus another in the primary metric; None if they share fewer than two seeds."""
        found = self.seed_scores(self.task.primary).minus(other.seed_scores(self.task.primary))
        shared = self.scores_by_seed().keys() & other.scores_by_seed().keys()
        return found if len(shared) >= FEWEST_PAIRS else None

    @property
    def endings(self) -> Endings:
        """How the runs ended."""
        return Endings(self.count("trained"), len(self.records))

    @property
    def still_rising(self) -> int:
        """Number of runs whose best checkpoint is the one of their last step: a longer budget might help them."""
        ends = [(record.progress.get("best_step"), record.progress.get("steps")) for record in self.records]
        return sum(bool(best) and best == last for best, last in ends)

    @property
    def trained(self) -> TrainedShare:
        """The share of runs that trained, and the median score of those that did."""
        scores = [record.score("test", self.task.primary) for record in self.records]
        return trained_share([record.outcome.status == "trained" for record in self.records], scores)

    @property
    def scored(self) -> list[Scores]:
        """Test scores of the runs that have them: all but diverged and failed ones."""
        return [record.test for record in self.records if record.test is not None]

    @property
    def gap(self) -> Spread:
        """Train minus validation in the primary metric, of the chosen checkpoint."""
        train, validation = (self.runs[f"{split}_{self.task.primary}"] for split in ("train", "validation"))
        return spread((train - validation).dropna().tolist())

    @property
    def steps_to_target(self) -> int | None:
        """Median optimiser step at which the primary metric on validation first reached the target."""
        if self.target is None or self.condition in WITHOUT_NETWORK:
            return None
        return median_steps([first_step_reaching(record, self.target) for record in self.records])

    def count(self, status: Status) -> int:
        """Return the number of runs that ended with this status."""
        return int((self.runs["status"] == status).sum())

    @property
    def failures(self) -> int:
        """Number of runs that collapsed or diverged."""
        return self.count("collapsed") + self.count("diverged")

    def fact(self, name: str) -> Any:
        """Return an entry of ``model`` that all runs of the row share, such as ``parameters``."""
        return next((record.model[name] for record in self.records if name in record.model), None)

    @cached_property
    def _seed_scores(self) -> dict[str, SeedScores]:
        return {}

    def applies_to(self, swept: Mapping[str, Any]) -> bool:
        """Tell whether this row's swept values are all in ``swept``: always, if it has none."""
        return is_part(self.swept, swept)


def make_rows(evidence: Evidence, description: Description) -> list[Row]:
    """Group the final runs into rows: by the order of conditions, then by the swept values."""
    finals = evidence.finals
    if not finals:
        return []
    order = order_conditions({record.condition for record in finals}, description.conditions)
    names = swept_names(finals)
    finals = sorted(
        finals,
        key=lambda record: (
            order.index(record.condition),
            [sort_key(record.swept.get(name)) for name in names],
            canonical_json(record.swept),
            record.seed,
        ),
    )
    frame, split = runs_frame(finals, metrics_of(finals)), ScoredSplit(evidence)
    groups: dict[tuple[str, str], list[int]] = {}
    for place, record in enumerate(finals):
        groups.setdefault((record.condition, canonical_json(record.swept)), []).append(place)
    return [
        Row(
            condition=condition,
            title=description.title_of(condition),
            swept=finals[places[0]].swept,
            records=tuple(finals[place] for place in places),
            runs=frame.iloc[places],
            target=target_of(finals, finals[places[0]].swept),
            split=split,
        )
        for (condition, _), places in groups.items()
    ]


def covered(rows: Sequence[Row]) -> str:
    """Return what the intervals of these rows cover, such as ``seeds and test files``.

    If some rows lack the answers, it also says what their intervals cover:
    ``seeds and test rows (without answers: seeds only)``.
    """
    estimates = [row.estimate(row.task.primary) for row in rows]
    found = sorted({estimate.covers for estimate in estimates if estimate} or {SEEDS_ONLY})
    if len(found) == 1 or SEEDS_ONLY not in found:
        return " or ".join(found)
    return f"{' or '.join(name for name in found if name != SEEDS_ONLY)} (without recorded answers: {SEEDS_ONLY})"


def _with_ends(found: Spread, estimate: MeanEstimate | None) -> Spread:
    """Return a spread with the ends of an estimate's interval; without ends if nothing varies."""
    if found.low is None or estimate is None:
        return found
    low, high = estimate.interval() or (None, None)
    return replace(found, low=low, high=high)


def metrics_of(records: Sequence[Record]) -> list[Metric]:
    """Return the task's metrics that any record has, and the primary one: a newer metric has no column in old tables.

    Raises:
        ExperimentError: the records are of a task that this version does not know.
    """
    spec = task_named(records[0].task)
    held = {name for record in records for scores in record.scores.values() for name in scores.metrics}
    return [metric for metric in spec.metrics if metric.name in held or metric.name == spec.primary]


def label_of(title: str, swept: Mapping[str, Any]) -> str:
    """Return a condition's title with its swept values, such as ``Pre-LN (6 layers)``."""
    return f"{title} ({spoken_setting(swept)})" if swept else title


def first_step_reaching(record: Record, target: float) -> int | None:
    """Return the first validated step at which the primary metric reached ``target``; None if it never did."""
    metric = task_named(record.task).primary_metric
    history = record.history.get("validation") or {}
    points = zip(history.get("step", []), history.get(metric.name, []), strict=False)
    return next((step for step, score in points if score is not None and not metric.better(target, score)), None)


def target_of(finals: Sequence[Record], swept: Mapping[str, Any]) -> float | None:
    """Return the level that ``steps_to_target`` asks for: 90 % of TF-IDF's validation score; None without a baseline.

    The baseline that counts was fitted on the same data: all that it is swept over has these values. Of a metric that
    falls as models improve, the level is its score over 90 %.
    """
    baselines = [record for record in finals if record.condition == TFIDF and is_part(record.swept, swept)]
    if not baselines:
        return None
    metric = task_named(baselines[0].task).primary_metric
    scores = [found for record in baselines if (found := record.score("validation", metric.name)) is not None]
    if not scores:
        return None
    return (TARGET_SHARE if metric.higher_is_better else 1 / TARGET_SHARE) * sum(scores) / len(scores)


def is_part(some: Mapping[str, Any], all_: Mapping[str, Any]) -> bool:
    """Tell whether every swept value of ``some`` is in ``all_``."""
    return all(name in all_ and all_[name] == value for name, value in some.items())


def swept_names(records: Sequence[Record] | Sequence[Row]) -> list[str]:
    """Return the dotted names of everything that was swept."""
    return sorted({name for record in records for name in record.swept})
