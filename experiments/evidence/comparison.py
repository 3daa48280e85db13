"""Both sides of a part of a claim, seed by seed: their paired differences, and what forbids to trust them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean

from experiments.evidence.measures import MEASURES
from experiments.evidence.part import Part
from experiments.evidence.quantities import Value
from experiments.statistics.censoring import Time, compare_times
from experiments.statistics.outcomes import PairedOutcomes
from experiments.statistics.seeds import PairedDifference, paired_difference


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
