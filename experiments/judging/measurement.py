"""A part of a claim on one corpus, measured: paired differences from the records of its grid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean

from experiments.judging.claim import Claim
from experiments.judging.evidence import GridResults, SideRuns
from experiments.judging.measures import MEASURES
from experiments.judging.part import Part
from experiments.judging.quantities import Value
from experiments.statistics.censoring import Time, compare_times
from experiments.statistics.multiplicity import intersection_union_p_value, intersection_union_sign_flip
from experiments.statistics.outcomes import PairedOutcomes
from experiments.statistics.seeds import PairedDifference, Spread, paired_difference, spread
from experiments.statistics.verdicts import FEWEST_SEEDS


@dataclass(frozen=True)
class Shown:
    """Mean and spread of a measure on both sides; for a measure with components, of the mean over them."""

    metric: str
    treatment: Spread
    control: Spread


@dataclass(frozen=True)
class Comparison:
    """Both sides of a part, compared seed by seed."""

    treatment: Mapping[int, Value]
    """Values by seed."""
    control: Mapping[int, Value]
    components: tuple[PairedDifference, ...]
    """Oriented so that positive favours the claim; one but for measures with components."""
    names: tuple[str, ...] = ("",)
    """Of the components."""
    outcomes: PairedOutcomes | None = None
    """Run by run, where the measure is a share of runs."""
    doubts: Mapping[str, int] = field(default_factory=dict)
    """What forbids to confirm or to refute (``statistics.verdicts``), with the number of seeds it concerns."""


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


def compare(part: Part, treatment: Mapping[int, Value], control: Mapping[int, Value]) -> Comparison:
    """Return the oriented differences of both sides' values by seed, and what speaks against trusting them."""
    doubts, outcomes = doubts_of(part, treatment, control), None
    first, second = (treatment, control) if part.direction == "higher" else (control, treatment)
    match MEASURES[part.metric].kind:
        case "time":
            compared = compare_times(*(_times(side) for side in (second, first)))
            bounds = {"upper_bound": compared.upper_bounds, "lower_bound": compared.lower_bounds}
            doubts |= {name: count for name, count in bounds.items() if count}
            return Comparison(treatment, control, (compared.ratios,), doubts=doubts)
        case "outcomes":
            seeds = sorted(treatment.keys() & control.keys())
            outcomes = PairedOutcomes(*(_outcomes(side, seeds) for side in (second, first)))
    larger, smaller = _components(first), _components(second)
    names = tuple(name for name in larger if name in smaller)
    differences = tuple(paired_difference(larger[name], smaller[name]) for name in names)
    return Comparison(treatment, control, differences, names, outcomes, doubts)


def doubts_of(part: Part, treatment: Mapping[int, Value], control: Mapping[int, Value]) -> dict[str, int]:
    """Return what forbids to confirm or to refute, with the number of seeds it concerns.

    Runs that diverged have no score. Where only one side lost some, what is left of it is its better half.
    """
    measure, seeds, found = MEASURES[part.metric], treatment.keys() & control.keys(), {}
    if not measure.may_lack:
        found["treatment_lost"] = sum(treatment[seed] is None and control[seed] is not None for seed in seeds)
        found["control_lost"] = sum(control[seed] is None and treatment[seed] is not None for seed in seeds)
    if measure.best is not None:
        sign = 1 if part.direction == "higher" else -1
        rooms = [sign * (measure.best - fmean(values.values())) for values in _components(control).values()]
        found["no_room"] = len(control) if rooms and min(rooms) < part.delta else 0
    return {name: count for name, count in found.items() if count}


def _times(values: Mapping[int, Value]) -> dict[int, Time]:
    return {seed: value for seed, value in values.items() if isinstance(value, Time)}


def _outcomes(values: Mapping[int, Value], seeds: Iterable[int]) -> tuple[bool, ...]:
    """Return the outcomes of all runs of the seeds, one after the other."""
    return tuple(failed for seed in seeds if isinstance(value := values[seed], tuple) for failed in value)


def _components(values: Mapping[int, Value]) -> dict[str, dict[int, float]]:
    """Turn values by seed into values by component, then seed; a plain number is the only component ``""``."""
    found: dict[str, dict[int, float]] = {}
    for seed, value in values.items():
        for name, number in (value if isinstance(value, dict) else {"": value}).items():
            if number is not None:
                found.setdefault(name, {})[seed] = _number(number)
    return found


def _number(value: Value) -> float:
    """Return a value as a number: a time's steps or tokens, the share of outcomes, the mean over components."""
    match value:
        case Time():
            return value.value
        case tuple():
            return fmean(value)
        case dict():
            return fmean(value.values())
    assert value is not None, "seeds without a value are left out"
    return float(value)


def _spread(values: Mapping[int, Value]) -> Spread:
    """Return the spread of a measure over the seeds that have a value; a time counts where it was reached."""
    kept: Iterable[Value] = (value for value in values.values() if value is not None)
    return spread([_number(value) for value in kept if not isinstance(value, Time) or value.reached])
