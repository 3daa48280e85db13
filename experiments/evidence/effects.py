"""From the records of a grid to the effect of one comparison: on each corpus, over corpora, and the word for it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from statistics import fmean
from typing import TypeVar

import numpy as np

from experiments.evidence.claim import Arm, Comparison
from experiments.evidence.measures import MEASURES, Measure
from experiments.evidence.quantities import has_failed, time_to_target
from experiments.reporting.across import GENERATED
from experiments.reporting.frame import Row
from experiments.statistics.censoring import Time, compare_times
from experiments.statistics.components import MeanEstimate, SeedScores
from experiments.statistics.outcomes import PairedOutcomes
from experiments.statistics.pooling import PooledEffect, pool
from experiments.statistics.seeds import CONFIDENCE, FEWEST_PAIRS, paired_difference
from experiments.statistics.words import (
    BOTH_DEAD,
    POWER_AT,
    WORDS,
    Endings,
    HasInterval,
    Word,
    WordPower,
    pooled_word,
    said_of,
    word_for,
    word_power,
)

Value = float | Time | None
Known = TypeVar("Known", float, Time)
NOT_RUN = "not yet run"
NOT_SETTLED: Word = "not settled"


@dataclass(frozen=True)
class ShareEffect:
    """How many more of the control's runs failed, as a share of paired runs."""

    outcomes: PairedOutcomes

    @property
    def mean(self) -> float:
        """The control's share of failed runs minus the treatment's."""
        return fmean(self.outcomes.other) - fmean(self.outcomes.favoured)

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """Exact interval that uses the pairs."""
        return self.outcomes.paired_interval(round(1 - confidence, 12))


@cache
def share_power(pairs: int, delta: float) -> WordPower:
    """Return the chances of the words for a number of pairs, if the treatment never fails.

    The control's failed runs are then binomial, and *helps* begins at some number of them, which bisection finds.
    """
    from scipy.special import bdtrc

    def helps(failed: int) -> bool:
        outcomes = PairedOutcomes((False,) * pairs, (True,) * failed + (False,) * (pairs - failed))
        return word_for(ShareEffect(outcomes), delta) == "helps"

    fewest = bisect_left(range(pairs + 1), True, key=helps)
    chances = {times: float(bdtrc(fewest - 1, pairs, min(1.0, times * delta))) for times in POWER_AT}
    never = PairedOutcomes((False,) * pairs, (False,) * pairs)
    return WordPower(chances, float(word_for(ShareEffect(never), delta) == "no difference that matters"))


@dataclass(frozen=True)
class WeakestEffect:
    """The smallest effect of several components, all of which are to rise."""

    components: Mapping[str, MeanEstimate]

    @property
    def weakest(self) -> str:
        """Name of the component with the smallest mean."""
        return min(self.components, key=lambda name: self.components[name].mean)

    @property
    def mean(self) -> float:
        """Effect of the weakest component."""
        return self.components[self.weakest].mean

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float] | None:
        """Interval of the smallest true effect; None where a component has no spread.

        The lower end is the smallest one: it is above 0 only if every component's is (intersection-union, Berger 1982).
        The upper end is the smallest one at a level that the K components share (Bonferroni). Any of them could have
        come out low by chance.
        """
        count = len(self.components)
        lower = [each.interval(confidence) for each in self.components.values()]
        upper = [each.interval(1 - (1 - confidence) / count) for each in self.components.values()]
        lows, highs = [ends[0] for ends in lower if ends], [ends[1] for ends in upper if ends]
        return (min(lows), min(highs)) if len(lows) == count else None


@dataclass(frozen=True)
class Bounds:
    """Pairs that only bound an effect, because a time was not reached or lies before the first look."""

    may_be_lower: int = 0
    may_be_higher: int = 0

    def allows(self, word: Word) -> bool:
        """Tell whether a word holds whatever the true times are; an effect above 0 helps."""
        if self.may_be_lower and self.may_be_higher:
            return word == NOT_SETTLED
        if self.may_be_higher:
            return word in ("helps", NOT_SETTLED)
        return not self.may_be_lower or word in ("harms", NOT_SETTLED)

    def plus(self, other: Bounds) -> Bounds:
        """Return the pairs of both."""
        return Bounds(self.may_be_lower + other.may_be_lower, self.may_be_higher + other.may_be_higher)


@dataclass(frozen=True)
class MeasuredEffect:
    """One comparison on one corpus. The effect is oriented so that above 0 favours the claim."""

    corpus: str
    rows: tuple[Row, ...]
    """Of both sides; empty where nothing is recorded."""
    said: str
    """Its word, what failures leave to say, or that it is not yet run."""
    effect: HasInterval | None = None
    pairs: int = 0
    bounds: Bounds = field(default_factory=Bounds)
    treatment: Mapping[int, Value] = field(default_factory=dict)
    """The measure by seed; of the weakest component where there are several."""
    control: Mapping[int, Value] = field(default_factory=dict)
    trained: tuple[Endings, Endings] | None = None
    """How the runs of treatment and control ended."""

    @property
    def is_run(self) -> bool:
        """Whether both sides have records."""
        return bool(self.rows)

    @property
    def covers(self) -> str:
        """What its interval speaks of."""
        match self.effect:
            case MeanEstimate():
                return self.effect.covers
            case WeakestEffect():
                return next(iter(self.effect.components.values())).covers
            case ShareEffect():
                return "runs, exact"
        return ""

    @property
    def weakest(self) -> str:
        """Name of the weakest component; empty where there is one effect only."""
        return self.effect.weakest if isinstance(self.effect, WeakestEffect) else ""

    def power(self, delta: float) -> WordPower | None:
        """Return the chance of each word under the measured spread; of several components that of the weakest."""
        if isinstance(self.effect, ShareEffect):
            return share_power(len(self.effect.outcomes.favoured), delta)
        found = self.effect.components[self.effect.weakest] if isinstance(self.effect, WeakestEffect) else self.effect
        return word_power(found, delta) if isinstance(found, MeanEstimate) else None


@dataclass(frozen=True)
class AnsweredComparison:
    """One comparison on all its corpora."""

    comparison: Comparison
    by_corpus: Mapping[str, MeasuredEffect]
    pooled: PooledEffect | None
    """Over natural text, by random effects; None where it cannot be pooled."""
    together: ShareEffect | None
    """Of failures: all pairs of natural text, of these corpora alone."""
    word: str
    """Of the pooled effect, or of all pairs together; empty without either."""
    bounds: Bounds

    @property
    def natural(self) -> dict[str, MeasuredEffect]:
        """Effects on natural text that are run."""
        return {name: each for name, each in self.by_corpus.items() if name not in GENERATED and each.is_run}

    @property
    def overall(self) -> PooledEffect | ShareEffect | None:
        """The effect over corpora; None where each corpus speaks for itself."""
        return self.pooled or self.together

    @property
    def power(self) -> WordPower | None:
        """The chance of each word over corpora, under the measured spread or for as many pairs."""
        if self.together is not None:
            return share_power(len(self.together.outcomes.favoured), self.comparison.delta)
        return word_power(self.pooled, self.comparison.delta)


def answer_comparison(comparison: Comparison, rows: Mapping[str, Sequence[Row]]) -> AnsweredComparison:
    """Measure a comparison on all its corpora and pool it over natural text.

    Args:
        comparison: what is compared.
        rows: final runs of the grid by corpus, of corpora that have any.
    """
    by_corpus = {corpus: measure_effect(comparison, corpus, rows.get(corpus, ())) for corpus in comparison.corpora}
    natural = {name: each for name, each in by_corpus.items() if name not in GENERATED}
    estimates = {
        name: each.effect
        for name, each in natural.items()
        if isinstance(each.effect, MeanEstimate) and each.said in WORDS
    }
    bounds = Bounds()
    for name in estimates:
        bounds = bounds.plus(natural[name].bounds)
    pooled = pool(estimates)
    together = _together([each.effect for each in natural.values() if isinstance(each.effect, ShareEffect)])
    word: str = pooled_word(pooled, comparison.delta) or ""
    if together is not None:
        word = word_for(together, comparison.delta)
    return AnsweredComparison(comparison, by_corpus, pooled, together, _bounded(word, bounds), bounds)


def _together(effects: Sequence[ShareEffect]) -> ShareEffect | None:
    """Join the pairs of several corpora; None for fewer than two.

    The share is the mean over these corpora. Where corpora differ, a sum of outcomes varies less than the exact test
    supposes (Hoeffding 1956), so the interval errs towards a wider one. It says nothing of other corpora.
    """
    if len(effects) < 2:
        return None
    sides = [[getattr(effect.outcomes, side) for effect in effects] for side in ("favoured", "other")]
    return ShareEffect(PairedOutcomes(*(tuple(failed for part in side for failed in part) for side in sides)))


def _bounded(word: str, bounds: Bounds) -> str:
    """Return a word, or that nothing is settled where the bounds forbid it."""
    return next((NOT_SETTLED for known in WORDS if word == known and not bounds.allows(known)), word)


def measure_effect(comparison: Comparison, corpus: str, rows: Sequence[Row]) -> MeasuredEffect:
    """Return the effect of one comparison on one corpus."""
    first, second = (rows_of_arm(rows, arm) for arm in (comparison.treatment, comparison.control))
    if not first or not second:
        return MeasuredEffect(corpus, (), NOT_RUN)
    measure, trained = MEASURES[comparison.metric], (ending(first), ending(second))
    made = MeasuredEffect(corpus, (*first, *second), NOT_SETTLED, trained=trained)
    match measure.kind:
        case "outcomes":
            return _with_shares(made, comparison, first, second)
        case "time":
            return _with_times(made, comparison, first[0], second[0])
        case "value":
            return _with_values(made, comparison, first[0], second[0])
    return _with_scores(made, comparison, first[0], second[0])


def rows_of_arm(rows: Sequence[Row], arm: Arm) -> list[Row]:
    """Return the rows of a side: one, or several where it leaves swept values open."""
    return [
        row
        for row in rows
        if row.condition == arm.condition
        and all(name in row.swept and row.swept[name] == value for name, value in arm.swept.items())
    ]


def ending(rows: Sequence[Row]) -> Endings:
    """Return how the runs of some rows ended."""
    return Endings(sum(row.count("trained") for row in rows), sum(len(row.records) for row in rows))


def _count(effect: HasInterval | None) -> int:
    """Return the pairs of seeds behind an effect, in the component that has fewest."""
    match effect:
        case MeanEstimate():
            return effect.count
        case WeakestEffect():
            return min(each.count for each in effect.components.values())
    return 0


def _with_values(made: MeasuredEffect, comparison: Comparison, first: Row, second: Row) -> MeasuredEffect:
    """Compare a value of every run, seed by seed. Two dead sides have no gap to compare."""
    sides = [_values(comparison, row) for row in (first, second)]
    larger, smaller = sides if comparison.direction == "higher" else sides[::-1]
    effect = seeds_estimate(paired_difference(_known(larger), _known(smaller)).values)
    of_scores = MEASURES[comparison.metric].unit == "points"
    said = BOTH_DEAD if of_scores and _are_dead(made) else word_for(effect, comparison.delta)
    return replace(made, said=said, effect=effect, pairs=_count(effect), treatment=sides[0], control=sides[1])


def _values(comparison: Comparison, row: Row) -> dict[int, float | None]:
    value = MEASURES[comparison.metric].value
    assert value is not None, "measures of this kind have one"
    return {record.seed: value(record, row.target) for record in row.records}


def _known(values: Mapping[int, Known | None]) -> dict[int, Known]:
    return {seed: value for seed, value in values.items() if value is not None}


def _are_dead(made: MeasuredEffect) -> bool:
    return made.trained is not None and made.trained[0].is_dead and made.trained[1].is_dead


def seeds_estimate(values: Sequence[float]) -> MeanEstimate | None:
    """Return the mean of paired differences with the variance over seeds; None for fewer than two."""
    if len(values) < FEWEST_PAIRS:
        return None
    variance = float(np.var(values, ddof=1)) / len(values) if len(set(values)) > 1 else 0.0
    return MeanEstimate(fmean(values), len(values), variance, len(values) - 1)


def _with_times(made: MeasuredEffect, comparison: Comparison, first: Row, second: Row) -> MeasuredEffect:
    """Compare when the runs reached the target, as log₂ of the control's time over the treatment's."""
    sides = [{each.seed: time_to_target(each, row.target) for each in row.records} for row in (first, second)]
    compared = compare_times(_known(sides[0]), _known(sides[1]))
    bounds, effect = Bounds(compared.upper_bounds, compared.lower_bounds), seeds_estimate(compared.ratios.values)
    said = BOTH_DEAD if _are_dead(made) else _bounded(word_for(effect, comparison.delta), bounds)
    found = replace(made, said=said, effect=effect, pairs=_count(effect), bounds=bounds)
    return replace(found, treatment=sides[0], control=sides[1])


def _with_shares(
    made: MeasuredEffect, comparison: Comparison, first: Sequence[Row], second: Sequence[Row]
) -> MeasuredEffect:
    """Compare which runs failed."""
    shares = _shares(first, second)
    if shares is None:
        return made
    said = word_for(shares, comparison.delta)
    return replace(made, said=said, effect=shares, pairs=len(shares.outcomes.favoured))


def _shares(first: Sequence[Row], second: Sequence[Row]) -> ShareEffect | None:
    """Pair the runs of both sides by seed and by the swept values that both leave open."""
    failed: list[dict[tuple[str, int], bool]] = [
        {
            (str(sorted(row.swept.items(), key=str)), record.seed): has_failed(record)
            for row in side
            for record in row.records
        }
        for side in (first, second)
    ]
    both = sorted(failed[0].keys() & failed[1].keys())
    outcomes = [tuple(side[key] for key in both) for side in failed]
    return ShareEffect(PairedOutcomes(outcomes[0], outcomes[1])) if both else None


def _with_scores(made: MeasuredEffect, comparison: Comparison, first: Row, second: Row) -> MeasuredEffect:
    """Compare test scores: the only one, or the weakest of several."""
    measure, is_higher = MEASURES[comparison.metric], comparison.direction == "higher"
    effect: HasInterval | None
    if measure.kind == "score":
        effect = first.effect(second) if is_higher else second.effect(first)
        values = [first.scores_by_seed(), second.scores_by_seed()]
    else:
        sides = [_counted(measure, row) for row in (first, second)]
        effect, weakest = _weakest(*(sides if is_higher else sides[::-1]))
        values = [dict(side[weakest].scores) if weakest in side else {} for side in sides]
    said = said_of(effect, comparison.delta, *(made.trained or (Endings(0, 0), Endings(0, 0))))
    return replace(made, said=said, effect=effect, pairs=_count(effect), treatment=values[0], control=values[1])


def _weakest(larger: Mapping[str, SeedScores], smaller: Mapping[str, SeedScores]) -> tuple[HasInterval | None, str]:
    """Return the effect on the only component or the weakest of several, and its name; None where one is not known."""
    found = {name: larger[name].minus(smaller[name]) for name in larger if name in smaller}
    known = {name: effect for name, effect in found.items() if effect is not None}
    if not known or len(known) < len(found):
        return None, ""
    weakest = WeakestEffect(known)
    return (weakest if len(known) > 1 else known[weakest.weakest]), weakest.weakest


def _counted(measure: Measure, row: Row) -> Mapping[str, SeedScores]:
    """Return scores of a row's test answers by component; none where no run was scored."""
    assert measure.answers is not None, "measures of this kind have them"
    record = next((record for record in row.records if record.test is not None), None)
    return row.split.counted(row.records, measure.answers(record)) if record else {}
