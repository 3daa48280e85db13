"""From claims and the records of their grids to effects and verdicts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from string import ascii_lowercase

from experiments.evidence.claim import Claim
from experiments.evidence.measurement import MeasuredPart, measure
from experiments.evidence.published_table import contradictions
from experiments.evidence.records import GridResults
from experiments.statistics.multiplicity import Adjusted, Interval, holm, intersection_union_interval
from experiments.statistics.power import POWER, equivalence_p_value, smallest_detectable_effect
from experiments.statistics.verdicts import FEWEST_SEEDS, Verdict, judge_all, judge_interval

Results = Callable[[str, str], GridResults]
"""Returns what is recorded of a grid (first argument) on a corpus (second)."""


@dataclass(frozen=True)
class JudgedPart:
    """A part of a claim on one corpus, judged."""

    measured: MeasuredPart
    adjusted: Adjusted
    interval: Interval | None
    """Of the effect: its lower end at the member's Holm level, its upper end at the family's strictest, which several
    components share out. None for fewer than three pairs."""
    detectable: float | None
    """Smallest effect that this number of seeds shows with 80 % power, given spread and level; for shares of runs the
    smallest difference that their exact interval could set apart from 0 at all. None without such an effect."""
    verdict: Verdict

    @property
    def known_ends(self) -> tuple[float | None, float | None]:
        """Ends of the interval; None for one of which nothing is known, because every pair only bounds the effect."""
        if self.interval is None:
            return None, None
        doubts, low, high = self.measured.arms.doubts, self.interval.low, self.interval.high
        lower, upper = (doubts.get(name, 0) for name in ("lower_bound", "upper_bound"))
        if lower + upper < self.measured.pairs:
            return low, high
        return None if upper else low, None if lower else high


@dataclass(frozen=True)
class JudgedClaim:
    """A claim, judged."""

    claim: Claim
    label: str
    """Its number, with a letter where several files test one claim of the article."""
    effects: tuple[JudgedPart, ...]
    verdict: Verdict

    @property
    def confirmatory(self) -> list[JudgedPart]:
        """Effects on the corpora that decide."""
        return [effect for effect in self.effects if effect.measured.is_confirmatory]


def judge(claims: Sequence[Claim], results: Results) -> list[JudgedClaim]:
    """Judge claims by the records that there are.

    Holm's procedure runs over all parts of a family on all confirmatory corpora, planned tests that could not be made
    included, and apart from that over the family's replications.

    Args:
        claims: what to judge; a family is complete only with all claims that name it.
        results: the records, by grid and corpus.
    """
    measured = [
        measure(claim, part, corpus, results(part.grid, corpus), is_confirmatory=corpus in part.corpora)
        for claim in claims
        for part in claim.parts
        for corpus in (*part.corpora, *part.replications)
    ]
    families: dict[tuple[str, bool], list[MeasuredPart]] = {}
    for measurement in measured:
        families.setdefault((measurement.claim.family, measurement.is_confirmatory), []).append(measurement)
    effects = [
        judge_member(member, adjusted)
        for family in families.values()
        for member, adjusted in zip(family, holm([member.p_value for member in family]), strict=True)
    ]
    return [
        judge_claim(claim, label, [effect for effect in effects if effect.measured.claim == claim])
        for claim, label in zip(claims, labels(claims), strict=True)
    ]


def labels(claims: Sequence[Claim]) -> list[str]:
    """Return the number of every claim, with a letter (1a, 1b) where several have it."""
    numbers = [claim.number for claim in claims]
    places = [numbers[:index].count(number) for index, number in enumerate(numbers)]
    return [
        f"{number}{ascii_lowercase[place]}" if numbers.count(number) > 1 else str(number)
        for number, place in zip(numbers, places, strict=True)
    ]


def judge_claim(claim: Claim, label: str, effects: Sequence[JudgedPart]) -> JudgedClaim:
    """Judge a claim as a whole: by its parts, or by arithmetic."""
    if claim.arithmetic:
        broken = contradictions()
        return JudgedClaim(claim, label, (), Verdict("refuted") if broken else Verdict("inconclusive", "undecided"))
    decisive = [effect.verdict for effect in effects if effect.measured.is_confirmatory]
    return JudgedClaim(claim, label, tuple(effects), judge_all(decisive))


def judge_member(member: MeasuredPart, adjusted: Adjusted) -> JudgedPart:
    """Judge a part on one corpus at the levels that its family leaves it."""
    if not member.is_complete:
        return JudgedPart(member, adjusted, None, None, Verdict("not run", "missing"))
    interval = detectable = None
    if member.pairs >= FEWEST_SEEDS:
        interval = interval_of(member, adjusted)
        detectable = detectable_effect(member, adjusted.level)
        if member.p_value is None:
            return JudgedPart(member, adjusted, interval, detectable, Verdict("inconclusive", "no_spread"))
    verdict = judge_interval(interval, member.part.delta, pairs=member.pairs, doubts=member.arms.doubts)
    if verdict.name == "refuted" and is_equivalent(member, adjusted.strictest):
        verdict = Verdict("refuted", "equivalent")
    return JudgedPart(member, adjusted, interval, detectable, verdict)


def interval_of(member: MeasuredPart, adjusted: Adjusted) -> Interval:
    """Return [l, u]: l at the member's Holm level, u at the strictest, because one refuted part refutes a claim.

    Of several components one that falls short refutes, so each has its share of u's level.
    """
    interval = intersection_union_interval(member.components, adjusted.level, adjusted.strictest)
    outcomes = member.arms.outcomes
    return interval if outcomes is None else outcomes.widened(interval, adjusted.level, adjusted.strictest)


def detectable_effect(member: MeasuredPart, level: float) -> float | None:
    """The effect that, true of every component, this number of seeds shows with 80 % power or more.

    All K components must be shown, and each is missed with a chance of at most 20 %/K. Of shares of runs, whose exact
    interval is wider than the t-interval, it is the smallest difference that could be shown at all.
    """
    if member.arms.outcomes is not None:
        return member.arms.outcomes.smallest_shown(level)
    widest = max(component.spread().sd or 0.0 for component in member.components)
    return smallest_detectable_effect(widest, member.pairs, level, 1 - (1 - POWER) / len(member.components))


def detectable_in_weakest(effect: JudgedPart) -> float | None:
    """The gain in the weakest component alone that this number of seeds shows with 80 % power.

    None where a part has one component only, or is not judged.
    """
    member = effect.measured
    if not member.weakest or effect.interval is None:
        return None
    component = dict(zip(member.arms.names, member.components, strict=True))[member.weakest]
    return smallest_detectable_effect(component.spread().sd or 0.0, component.count, effect.adjusted.level)


def is_equivalent(member: MeasuredPart, level: float) -> bool:
    """Tell whether a part's only effect lies within ±δ, so that the arms are equal in practice (TOST at ``level``).

    Never where some pairs only bound the effect, nor for a share of runs, whose spread over seeds can be none.
    """
    if len(member.components) != 1 or member.arms.doubts or member.arms.outcomes is not None:
        return False
    p_value = equivalence_p_value(member.components[0], member.part.delta)
    return p_value is not None and p_value <= level
