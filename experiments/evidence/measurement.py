"""A part of a claim on one corpus, measured: paired differences from the records of its grid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

from experiments.evidence.claim import Claim
from experiments.evidence.comparison import Comparison, compare, number_of
from experiments.evidence.evidence import GridResults, SideRuns
from experiments.evidence.measures import MEASURES
from experiments.evidence.part import Part
from experiments.evidence.quantities import Value
from experiments.statistics.censoring import Time
from experiments.statistics.multiplicity import intersection_union_p_value, intersection_union_sign_flip
from experiments.statistics.seeds import PairedDifference, Spread, spread
from experiments.statistics.verdicts import FEWEST_SEEDS


@dataclass(frozen=True)
class Shown:
    """Mean and spread of a measure on both sides; for a measure with components, of the mean over them."""

    metric: str
    treatment: Spread
    control: Spread


@dataclass(frozen=True)
class Measurement:
    """A part on one corpus before it is judged: what its records say."""

    claim: Claim
    part: Part
    corpus: str
    is_confirmatory: bool
    results: GridResults
    planned: int
    """Runs of both sides that the grid plans, and of the baseline where the measure asks for its score."""
    found: int
    comparison: Comparison
    seeds: int
    """Seeds of which both sides' runs are recorded."""
    shown: tuple[Shown, ...]
    """The part's own measure first, then those that decide nothing."""

    @property
    def components(self) -> tuple[PairedDifference, ...]:
        """Paired differences, oriented so that positive favours the claim."""
        return self.comparison.components

    @property
    def weakest(self) -> str:
        """Name of the component with the smallest mean; empty where there is one effect only, or none."""
        means = {name: fmean(each.values) for name, each in zip(self.comparison.names, self.components, strict=True)}
        return min(means, key=means.__getitem__, default="")

    @property
    def pairs(self) -> int:
        """Pairs of seeds that have a value on both sides, in the component that has fewest."""
        return min((component.count for component in self.components), default=0)

    @property
    def excluded(self) -> int:
        """Recorded pairs without a value on some side: no score, a level never reached, an order that is not known."""
        return self.seeds - self.pairs

    @property
    def largest_possible(self) -> float | None:
        """Largest effect that there could be: the control's share of failures, or a score's range; None: no limit."""
        if self.comparison.outcomes is not None:
            return fmean(self.comparison.outcomes.other)
        return MEASURES[self.part.metric].best if MEASURES[self.part.metric].best == 1.0 else None

    @property
    def lacking(self) -> dict[str, int]:
        """Recorded seeds of which one side alone has no value, by that side."""
        sides = {"treatment": self.comparison.treatment, "control": self.comparison.control}
        both = sides["treatment"].keys() & sides["control"].keys()
        missing = {name: {seed for seed in both if side[seed] is None} for name, side in sides.items()}
        return {
            "treatment": len(missing["treatment"] - missing["control"]),
            "control": len(missing["control"] - missing["treatment"]),
        }

    @property
    def is_complete(self) -> bool:
        """Whether every planned run is recorded."""
        return self.found == self.planned

    @property
    def p_value(self) -> float | None:
        """Two-sided p-value, not adjusted; None where runs are missing or too few pairs to judge have values."""
        if not self.is_complete or self.pairs < FEWEST_SEEDS:
            return None
        outcomes, p_value = self.comparison.outcomes, intersection_union_p_value(self.components)
        return p_value if outcomes is None or p_value is None else max(p_value, outcomes.p_value)

    @property
    def sign_flip_p_value(self) -> float | None:
        """The same by sign flips, as a check of the t-test's assumptions."""
        return None if self.p_value is None else intersection_union_sign_flip(self.components)


def measure(claim: Claim, part: Part, corpus: str, results: GridResults, *, is_confirmatory: bool) -> Measurement:
    """Compute a part's paired differences on one corpus from the records that there are."""
    treatment, control = results.side(part.treatment), results.side(part.control)
    counted = [treatment, control, *([results.baselines] if MEASURES[part.metric].needs_target else [])]
    return Measurement(
        claim=claim,
        part=part,
        corpus=corpus,
        is_confirmatory=is_confirmatory,
        results=results,
        planned=sum(runs.planned for runs in counted),
        found=sum(runs.found for runs in counted),
        comparison=compare(part, *(values_of(part.metric, side, results.target) for side in (treatment, control))),
        seeds=len(treatment.records.keys() & control.records.keys()),
        shown=tuple(
            Shown(metric, *(_spread(values_of(metric, side, results.target)) for side in (treatment, control)))
            for metric in (part.metric, *part.shown)
        ),
    )


def values_of(metric: str, side: SideRuns, target: float | None) -> dict[int, Value]:
    """Return the values of a measure by seed; None for a seed that has none."""
    return {seed: MEASURES[metric].compute(records, target) for seed, records in side.records.items()}


def _spread(values: Mapping[int, Value]) -> Spread:
    """Return the spread of a measure over the seeds that have a value; a time counts where it was reached."""
    kept: Iterable[Value] = (value for value in values.values() if value is not None)
    return spread([number_of(value) for value in kept if not isinstance(value, Time) or value.reached])
