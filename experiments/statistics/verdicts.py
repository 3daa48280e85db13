"""The rule that turns an effect and its interval into a verdict."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from experiments.statistics.multiplicity import Interval

VerdictName = Literal["confirmed", "refuted", "inconclusive", "not run"]
FEWEST_SEEDS = 3
"""Pairs of seeds without which nothing is judged."""


@dataclass(frozen=True)
class Verdict:
    """What the evidence says about a claim, or a part of it."""

    name: VerdictName
    reason: str = ""
    """Why it is inconclusive or not run, or that a refuted effect is practically zero: one of :data:`REASONS`."""


AGAINST_CONFIRMING = ("upper_bound", "treatment_lost")
"""The effect may be smaller than measured: times bound it from above, or runs of the treatment alone have no score."""
AGAINST_REFUTING = ("lower_bound", "control_lost", "no_room")
"""The effect may be larger than measured, or the control is so good that no treatment could gain δ over it."""
REASONS = (
    "missing",
    "few_seeds",
    "no_spread",
    "undecided",
    "small",
    "equivalent",
    *AGAINST_CONFIRMING,
    *AGAINST_REFUTING,
)


def judge_interval(interval: Interval | None, delta: float, *, pairs: int, doubts: Collection[str] = ()) -> Verdict:
    """Judge an effect by its multiplicity-adjusted interval [l, u], oriented so that positive favours the claim.

    **Confirmed** if ``l > 0`` and the mean is at least δ, the smallest effect of interest. **Refuted** if ``u < δ``.
    **Inconclusive** otherwise, with fewer than three usable pairs of seeds, and if a doubt forbids the verdict.

    Args:
        interval: the effect; None if it could not be computed.
        delta: smallest effect of interest, in the effect's unit.
        pairs: usable pairs of seeds.
        doubts: of :data:`AGAINST_CONFIRMING` and :data:`AGAINST_REFUTING`.
    """
    if interval is None or pairs < FEWEST_SEEDS:
        return Verdict("inconclusive", "few_seeds")
    if interval.low > 0 and interval.mean >= delta:
        return _unless("confirmed", AGAINST_CONFIRMING, doubts)
    if interval.high < delta:
        # A control that leaves no room excuses a treatment that gains nothing, and not one that does harm.
        against = [doubt for doubt in AGAINST_REFUTING if doubt != "no_room" or interval.high >= 0]
        return _unless("refuted", against, doubts)
    return Verdict("inconclusive", "small" if interval.low > 0 else "undecided")


def _unless(name: VerdictName, against: Sequence[str], doubts: Collection[str]) -> Verdict:
    reason = next((doubt for doubt in against if doubt in doubts), None)
    return Verdict(name) if reason is None else Verdict("inconclusive", reason)


def judge_all(verdicts: Sequence[Verdict]) -> Verdict:
    """Judge a claim by the verdicts of all its parts on all confirmatory corpora.

    A claim is **confirmed** only if every part is confirmed on every corpus, and **refuted** if one part is refuted on
    one corpus. It is *not run* while anything is missing, and inconclusive otherwise. This rule is strict: with many
    parts it hardly ever confirms a true claim.
    """
    names = [verdict.name for verdict in verdicts]
    if not names or "not run" in names:
        return Verdict("not run", "missing")
    if "refuted" in names:
        return Verdict("refuted")
    if all(name == "confirmed" for name in names):
        return Verdict("confirmed")
    return Verdict("inconclusive", "undecided")
