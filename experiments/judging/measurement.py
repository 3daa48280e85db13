"""A part of a claim on one corpus, measured: paired differences from the records of its grid."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from experiments.judging.claim import Claim, Part
from experiments.judging.evidence import GridResults, SideRuns
from experiments.judging.measures import MEASURES
from experiments.judging.quantities import Value
from experiments.statistics.censoring import CensoredComparison, Time, compare_times
from experiments.statistics.multiplicity import intersection_union_p_value
from experiments.statistics.seeds import FEWEST_PAIRS, PairedDifference, Spread, paired_difference, spread


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
    """Runs of both sides that the grid plans."""
    found: int
    components: tuple[PairedDifference, ...]
    """Oriented so that positive favours the claim; one but for measures with components."""
    names: tuple[str, ...]
    """Of the components."""
    seeds: int
    """Seeds of which both sides' runs are recorded."""
    censored: CensoredComparison | None
    shown: tuple[Shown, ...]
    """The part's own measure first, then those that decide nothing."""

    @property
    def pairs(self) -> int:
        """Pairs of seeds that have a value on both sides, in the component that has fewest."""
        return min((component.count for component in self.components), default=0)

    @property
    def excluded(self) -> int:
        """Recorded pairs without a value on some side: no score, a level never reached, both sides censored."""
        return self.seeds - self.pairs

    @property
    def is_complete(self) -> bool:
        """Whether every planned run is recorded."""
        return self.found == self.planned

    @property
    def p_value(self) -> float | None:
        """Two-sided p-value, not adjusted; None where runs are missing or fewer than two pairs have values."""
        known = [part.p_value for part in self.components if part.p_value is not None]
        return intersection_union_p_value(known) if self.is_complete and known and self.pairs >= FEWEST_PAIRS else None

    @property
    def sign_flip_p_value(self) -> float | None:
        """The same by sign flips, as a check of the t-test's assumptions."""
        known = [part.sign_flip_p_value for part in self.components]
        return max((value for value in known if value is not None), default=None) if self.p_value is not None else None


def measure(claim: Claim, part: Part, corpus: str, results: GridResults, *, is_confirmatory: bool) -> Measurement:
    """Compute a part's paired differences on one corpus from the records that there are."""
    sides = results.side(part.treatment), results.side(part.control)
    names, components, censored = compare(part, *(values_of(part.metric, side, results.target) for side in sides))
    return Measurement(
        claim=claim,
        part=part,
        corpus=corpus,
        is_confirmatory=is_confirmatory,
        results=results,
        planned=sum(side.planned for side in sides),
        found=sum(side.found for side in sides),
        components=components,
        names=names,
        seeds=len(sides[0].records.keys() & sides[1].records.keys()),
        censored=censored,
        shown=tuple(
            Shown(metric, *(_spread(values_of(metric, side, results.target).values()) for side in sides))
            for metric in (part.metric, *part.shown)
        ),
    )


def values_of(metric: str, side: SideRuns, target: float | None) -> dict[int, Value]:
    """Return the values of a measure by seed, without seeds that have none."""
    values = {seed: MEASURES[metric].compute(records, target) for seed, records in side.records.items()}
    return {seed: value for seed, value in values.items() if value is not None}


def compare(
    part: Part, treatment: dict[int, Value], control: dict[int, Value]
) -> tuple[tuple[str, ...], tuple[PairedDifference, ...], CensoredComparison | None]:
    """Return names and oriented differences of the components, and what censoring did to them."""
    if MEASURES[part.metric].kind == "time":
        fast, slow = (treatment, control) if part.direction == "lower" else (control, treatment)
        times = [{seed: value for seed, value in side.items() if isinstance(value, Time)} for side in (fast, slow)]
        censored = compare_times(*times)
        return (part.metric,), (censored.ratios,), censored
    first, second = (treatment, control) if part.direction == "higher" else (control, treatment)
    components = [_components(side) for side in (first, second)]
    names = tuple(name for name in components[0] if name in components[1])
    return names, tuple(paired_difference(components[0][name], components[1][name]) for name in names), None


def _components(values: dict[int, Value]) -> dict[str, dict[int, float]]:
    """Turn values by seed into values by component, then seed; a plain number is the only component ``""``."""
    found: dict[str, dict[int, float]] = {}
    for seed, value in values.items():
        parts = value if isinstance(value, dict) else {"": value}
        for name, number in parts.items():
            assert isinstance(number, int | float), "times are compared apart"
            found.setdefault(name, {})[seed] = float(number)
    return found


def _spread(values: Iterable[Value]) -> Spread:
    """Return the spread of a measure over seeds; of a component measure, of the mean over components."""
    numbers = []
    for value in values:
        if isinstance(value, Time):
            numbers.append(value.value)
        elif isinstance(value, dict):
            numbers.append(sum(value.values()) / len(value))
        elif value is not None:
            numbers.append(float(value))
    return spread(numbers)
