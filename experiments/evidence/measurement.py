"""A part of a claim on one corpus, measured: paired differences of its two arms, and what forbids to trust them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean

from experiments.evidence.claim import Claim, Part
from experiments.evidence.measures import MEASURES
from experiments.evidence.quantities import Value
from experiments.evidence.records import ArmRuns, GridResults
from experiments.statistics.censoring import Time, compare_times
from experiments.statistics.multiplicity import intersection_union_p_value, intersection_union_sign_flip
from experiments.statistics.outcomes import PairedOutcomes
from experiments.statistics.seeds import PairedDifference, paired_difference
from experiments.statistics.verdicts import FEWEST_SEEDS

Values = Mapping[int, Value]
"""Of a measure on one arm, by seed; None for a seed that has none."""


@dataclass(frozen=True)
class PairedArms:
    """Both arms of a part, compared seed by seed."""

    treatment: Values
    control: Values
    components: tuple[PairedDifference, ...]
    """Oriented so that positive favours the claim; one but for measures with components."""
    names: tuple[str, ...] = ("",)
    """Of the components."""
    outcomes: PairedOutcomes | None = None
    """Run by run, where the measure is a share of runs."""
    doubts: Mapping[str, int] = field(default_factory=dict)
    """What forbids to confirm or to refute (``statistics.verdicts``), with the number of seeds it concerns."""


@dataclass(frozen=True)
class MeasuredPart:
    """A part on one corpus before it is judged: what its records say."""

    claim: Claim
    part: Part
    corpus: str
    is_confirmatory: bool
    planned: int
    """Runs of both arms that the grid plans, and of the baseline where the measure asks for its score."""
    found: int
    arms: PairedArms
    seeds: int
    """Seeds of which both arms' runs are recorded."""
    shown: Mapping[str, tuple[Values, Values]]
    """Values of treatment and control by measure, for measures that decide nothing."""

    @property
    def components(self) -> tuple[PairedDifference, ...]:
        """Paired differences, oriented so that positive favours the claim."""
        return self.arms.components

    @property
    def weakest(self) -> str:
        """Name of the component with the smallest mean; empty where there is one effect only, or none."""
        known = {name: each.values for name, each in zip(self.arms.names, self.components, strict=True) if each.values}
        return min(known, key=lambda name: fmean(known[name]), default="")

    @property
    def pairs(self) -> int:
        """Pairs of seeds that have a value in both arms, in the component that has fewest."""
        return min((component.count for component in self.components), default=0)

    @property
    def lacking(self) -> dict[str, int]:
        """Recorded seeds of which one arm alone has no value, by that arm."""
        arms = {"treatment": self.arms.treatment, "control": self.arms.control}
        both = arms["treatment"].keys() & arms["control"].keys()
        missing = {name: {seed for seed in both if arm[seed] is None} for name, arm in arms.items()}
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
        """Two-sided p-value, not adjusted.

        None where runs are missing, too few pairs to judge have values, or all differ equally and no spread is known.
        """
        if not self.is_complete or self.pairs < FEWEST_SEEDS:
            return None
        outcomes, p_value = self.arms.outcomes, intersection_union_p_value(self.components)
        if outcomes is None:
            return p_value
        # Shares that differ equally in every seed have no t-test, and their runs still have an exact one.
        return outcomes.p_value if p_value is None else max(p_value, outcomes.p_value)

    @property
    def sign_flip_p_value(self) -> float | None:
        """The same by sign flips, as a check of the t-test's assumptions."""
        return None if self.p_value is None else intersection_union_sign_flip(self.components)


def measure(claim: Claim, part: Part, corpus: str, results: GridResults, *, is_confirmatory: bool) -> MeasuredPart:
    """Compute a part's paired differences on one corpus from the records that there are."""
    treatment, control = results.runs_of(part.treatment), results.runs_of(part.control)
    counted = [treatment, control, *([results.baselines] if MEASURES[part.metric].needs_target else [])]

    def values(metric: str) -> tuple[Values, Values]:
        return values_of(metric, treatment, results.target), values_of(metric, control, results.target)

    return MeasuredPart(
        claim=claim,
        part=part,
        corpus=corpus,
        is_confirmatory=is_confirmatory,
        planned=sum(runs.planned for runs in counted),
        found=sum(runs.found for runs in counted),
        arms=compare(part, *values(part.metric)),
        seeds=len(treatment.records.keys() & control.records.keys()),
        shown={metric: values(metric) for metric in part.shown},
    )


def values_of(metric: str, arm: ArmRuns, target: float | None) -> Values:
    """Return the values of a measure by seed; None for a seed that has none."""
    return {seed: MEASURES[metric].compute(records, target) for seed, records in arm.records.items()}


def compare(part: Part, treatment: Values, control: Values) -> PairedArms:
    """Return the oriented differences of both arms' values by seed, and what speaks against trusting them."""
    doubts, outcomes = doubts_of(part, treatment, control), None
    first, second = (treatment, control) if part.direction == "higher" else (control, treatment)
    match MEASURES[part.metric].kind:
        case "time":
            compared = compare_times(*(_times(arm) for arm in (second, first)))
            bounds = {"upper_bound": compared.upper_bounds, "lower_bound": compared.lower_bounds}
            doubts |= {name: count for name, count in bounds.items() if count}
            return PairedArms(treatment, control, (compared.ratios,), doubts=doubts)
        case "outcomes":
            seeds = sorted(treatment.keys() & control.keys())
            sides = [_outcomes(arm, seeds) for arm in (second, first)]
            outcomes = PairedOutcomes(*sides) if any(sides) else None
    larger, smaller = _components(first), _components(second)
    names = tuple(name for name in larger if name in smaller)
    differences = tuple(paired_difference(larger[name], smaller[name]) for name in names)
    return PairedArms(treatment, control, differences, names, outcomes, doubts)


def doubts_of(part: Part, treatment: Values, control: Values) -> dict[str, int]:
    """Return what forbids to confirm or to refute, with the number of seeds it concerns.

    Runs that diverged have no score. Where only one arm lost some, what is left of it is its better half.
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


def _times(values: Values) -> dict[int, Time]:
    return {seed: value for seed, value in values.items() if isinstance(value, Time)}


def _outcomes(values: Values, seeds: Iterable[int]) -> tuple[bool, ...]:
    """Return the outcomes of all runs of the seeds, one after the other."""
    return tuple(failed for seed in seeds if isinstance(value := values[seed], tuple) for failed in value)


def _components(values: Values) -> dict[str, dict[int, float]]:
    """Turn values by seed into values by component, then seed; a plain number is the only component ``""``."""
    found: dict[str, dict[int, float]] = {}
    for seed, value in values.items():
        for name, number in (value if isinstance(value, dict) else {"": value}).items():
            if number is not None:
                found.setdefault(name, {})[seed] = number_of(number)
    return found


def number_of(value: Value) -> float:
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


def mean_of(values: Values) -> float | None:
    """Return the mean over the seeds that have a value; a time counts where it was reached."""
    known = [value for value in values.values() if value is not None]
    numbers = [number_of(value) for value in known if not isinstance(value, Time) or value.reached]
    return fmean(numbers) if numbers else None
