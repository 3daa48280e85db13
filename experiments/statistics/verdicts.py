"""The rule that turns an effect and its interval into a verdict."""

from __future__ import annotations

from collections.abc import Sequence
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
    """Why it is inconclusive or not run, or that a refuted effect is none in practice: one of :data:`REASONS`."""


REASONS = ("missing", "few_seeds", "undecided", "small", "only_fast_censored", "only_slow_censored", "equivalent")


def judge_interval(
    interval: Interval | None, delta: float, *, pairs: int, may_confirm: bool = True, may_refute: bool = True
) -> Verdict:
    """Judge an effect by its multiplicity-adjusted interval [l, u], oriented so that positive favours the claim.

    **Confirmed** if ``l > 0`` and the mean is at least δ, the smallest effect of interest; **refuted** if ``u < δ``;
    **inconclusive** otherwise, and wherever fewer than three pairs of seeds are usable.

    Args:
        interval: the effect; None where it could not be computed.
        delta: smallest effect of interest, in the effect's unit.
        pairs: usable pairs of seeds.
        may_confirm: False where the mean is only an upper bound (the claimed faster side is censored).
        may_refute: False where the mean is only a lower bound (the other side is censored).
    """
    if interval is None or pairs < FEWEST_SEEDS:
        return Verdict("inconclusive", "few_seeds")
    if interval.low > 0 and interval.mean >= delta:
        return Verdict("confirmed") if may_confirm else Verdict("inconclusive", "only_fast_censored")
    if interval.high < delta:
        return Verdict("refuted") if may_refute else Verdict("inconclusive", "only_slow_censored")
    return Verdict("inconclusive", "small" if interval.low > 0 else "undecided")


def judge_all(verdicts: Sequence[Verdict]) -> Verdict:
    """Judge a claim by the verdicts of all its parts on all confirmatory corpora.

    The article claims without conditions, so a claim is **confirmed** only if every part is confirmed on every corpus,
    and **refuted** if one part is refuted on one corpus. It is *not run* while anything is missing, and inconclusive
    otherwise.
    """
    names = [verdict.name for verdict in verdicts]
    if not names or "not run" in names:
        return Verdict("not run", "missing")
    if "refuted" in names:
        return Verdict("refuted")
    if all(name == "confirmed" for name in names):
        return Verdict("confirmed")
    return Verdict("inconclusive", "undecided")
