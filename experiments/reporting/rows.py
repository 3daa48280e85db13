"""The rows of a table: the final runs of one condition at one setting of the swept values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from experiments.reporting.spoken import spoken_setting
from experiments.runs.canonical import canonical_json
from experiments.runs.naming import TFIDF, order_conditions, sort_key
from experiments.runs.record import Record, Scores, Status
from experiments.runs.store import Evidence
from experiments.statistics.censoring import median_steps
from experiments.statistics.seeds import Spread, spread
from lightning_modules.schemes.variants import VARIANTS

TARGET_SHARE = 0.9
"""``steps_to_target``: share of the TF-IDF baseline's validation macro-F1 that a run has to reach."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a report says about its grid beside the numbers."""

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
    """Names for people, where they differ from the registry's."""
    listed_trials: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """The trials that a widened grid lists for each condition, to tell its further ones from; else empty."""

    planned: Sequence[tuple[str, Mapping[str, Any]]] = ()
    """Condition and swept values of every row that the grid plans; none where that is not known."""
    seeds: Sequence[int] = ()
    """Seeds that it plans for every row of a network."""

    def title_of(self, condition: str) -> str:
        """Return a condition's name for people."""
        if condition in self.titles:
            return self.titles[condition]
        if condition == TFIDF:
            return "TF-IDF + logistic regression"
        return VARIANTS[condition].title if condition in VARIANTS else condition


@dataclass(frozen=True)
class Row:
    """Final runs that differ in nothing but the seed."""

    condition: str
    title: str
    swept: dict[str, Any]
    records: tuple[Record, ...]
    """Sorted by seed."""
    target: float | None
    """Validation macro-F1 that ``steps_to_target`` asks for; none without a TF-IDF baseline."""

    @property
    def label(self) -> str:
        """Title and swept values, for headings and figures."""
        return label_of(self.title, self.swept)

    def applies_to(self, swept: Mapping[str, Any]) -> bool:
        """Tell whether this row's swept values are all in ``swept``: always, where it has none."""
        return is_part(self.swept, swept)

    @property
    def scored(self) -> list[tuple[int, Scores]]:
        """Seed and test scores of the runs that have them: all but diverged and failed ones."""
        return [(record.seed, record.test) for record in self.records if record.test is not None]

    def count(self, status: Status) -> int:
        """Return the number of runs that ended so."""
        return sum(record.outcome.status == status for record in self.records)

    @property
    def all_collapsed(self) -> bool:
        """Tell whether no run learnt to tell the classes apart."""
        return self.count("collapsed") == len(self.records)

    def test(self, metric: str) -> Spread:
        """Return the spread of a test metric over the runs that have scores."""
        return spread([value for _, scores in self.scored if (value := scores.metrics.get(metric)) is not None])

    def per_class(self, index: int, measure: str) -> Spread:
        """Return the spread of one class's measure over the runs that have scores."""
        return spread([float(scores.details["per_class"][index][measure]) for _, scores in self.scored])

    def fact(self, name: str) -> Any:
        """Return an entry of ``model`` that all runs of the row share, such as ``parameters``."""
        return next((record.model[name] for record in self.records if name in record.model), None)

    @property
    def generalisation_gap(self) -> Spread:
        """Return train minus validation macro-F1 of the chosen checkpoint."""
        pairs = [tuple(r.score(split, "macro_f1") for split in ("train", "validation")) for r in self.records]
        return spread([train - held for train, held in pairs if train is not None and held is not None])

    @property
    def steps_to_target(self) -> int | None:
        """Return the median optimiser step at which validation macro-F1 first reached the target."""
        if self.target is None or self.condition == TFIDF:
            return None
        return median_steps([first_step_reaching(record, self.target) for record in self.records])


def label_of(title: str, swept: Mapping[str, Any]) -> str:
    """Return a condition's title with its swept values, such as ``Pre-LN (6 layers)``."""
    return f"{title} ({spoken_setting(swept)})" if swept else title


def first_step_reaching(record: Record, target: float) -> int | None:
    """Return the first validated step at which macro-F1 was at least ``target``; none where it never was."""
    history = record.history.get("validation") or {}
    points = zip(history.get("step", []), history.get("macro_f1", []), strict=False)
    return next((step for step, score in points if score is not None and score >= target), None)


def make_rows(evidence: Evidence, description: Description) -> list[Row]:
    """Group the final runs into rows: by the order of conditions, then by the swept values."""
    finals = evidence.finals
    order = order_conditions({record.condition for record in finals}, description.conditions)
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in finals:
        groups.setdefault((record.condition, canonical_json(record.swept)), []).append(record)
    names = swept_names(finals)

    def place(records: list[Record]) -> tuple[Any, ...]:
        first = records[0]
        return order.index(first.condition), [sort_key(first.swept.get(name)) for name in names]

    return [
        Row(
            condition=records[0].condition,
            title=description.title_of(records[0].condition),
            swept=records[0].swept,
            records=tuple(sorted(records, key=lambda record: record.seed)),
            target=target_of(finals, records[0].swept),
        )
        for records in sorted(groups.values(), key=place)
    ]


def is_part(some: Mapping[str, Any], all_: Mapping[str, Any]) -> bool:
    """Tell whether every swept value of ``some`` is in ``all_``."""
    return all(name in all_ and all_[name] == value for name, value in some.items())


def swept_names(records: list[Record]) -> list[str]:
    """Return the dotted names of everything that was swept."""
    return sorted({name for record in records for name in record.swept})


def tuned_names(records: list[Record]) -> list[str]:
    """Return the dotted names of everything that was tuned."""
    return sorted({name for record in records for name in record.tuned})


def target_of(finals: list[Record], swept: dict[str, Any]) -> float | None:
    """Return 90 % of TF-IDF's validation macro-F1, the level that ``steps_to_target`` asks for.

    The baseline speaks that was fitted on the same data: all that it is swept over has these values. None without one.
    """
    baselines = [record for record in finals if record.condition == TFIDF and is_part(record.swept, swept)]
    scores = [score for record in baselines if (score := record.score("validation", "macro_f1")) is not None]
    return TARGET_SHARE * sum(scores) / len(scores) if scores else None
