"""Every kind of test, from values by seed to the verdict: equals are seldom confirmed, clear effects are told."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pytest

from experiments.evidence.claim import Arm, Claim, Part, load_claims
from experiments.evidence.judge import interval_of
from experiments.evidence.measurement import MeasuredPart, compare
from experiments.evidence.quantities import Value
from experiments.statistics.censoring import Time
from experiments.statistics.multiplicity import Adjusted, holm
from experiments.statistics.verdicts import FEWEST_SEEDS, judge_interval

SEEDS, MEMBERS, FAMILIES = 10, 4, 150
BUDGET, FIRST_LOOK = 500.0, 25.0
Draw = Callable[[np.random.Generator, float], Value]
"""Returns one seed's value; the second argument shifts it, in units that differ from test to test."""


def score(generator: np.random.Generator, shift: float) -> Value:
    return float(generator.normal(0.6 + 0.05 * shift, 0.02))


def score_of_what_may_diverge(generator: np.random.Generator, shift: float) -> Value:
    return None if generator.random() < 0.1 else score(generator, shift)


def time(generator: np.random.Generator, shift: float) -> Value:
    """Steps of which a fifth lie beyond the budget and a few before the first look."""
    steps = float(np.exp(generator.normal(math.log(300) + shift, 0.6)))
    if steps > BUDGET:
        return Time(BUDGET, reached=False)
    return Time(max(steps, FIRST_LOOK), reached=True, at_first_look=steps < FIRST_LOOK)


def scores_of_classes(generator: np.random.Generator, shift: float) -> Value:
    return {name: float(generator.normal(0.6 + 0.05 * shift, 0.02)) for name in "abc"}


def failures(generator: np.random.Generator, shift: float) -> Value:
    """Whether three runs of a seed failed: all or none with a shift of ±1, else about every third."""
    return tuple(bool(failed) for failed in generator.random(3) < 0.3 + shift)


KINDS: dict[str, tuple[str, str, float, Draw]] = {
    "paired_t": ("macro_f1", "higher", 0.01, score),
    "paired_t with lost runs": ("macro_f1", "higher", 0.01, score_of_what_may_diverge),
    "censored_ratio": ("steps_to_target", "lower", 0.1, time),
    "intersection_union": ("class_precision_recall_f1", "higher", 0.01, scores_of_classes),
    "paired_outcomes": ("failure_share", "lower", 0.1, failures),
}


@lru_cache
def some_claim() -> Claim:
    """Return a claim for the members to belong to; nothing of it enters a verdict."""
    return load_claims(["residual_generalisation"])[0]


def judged(kind: str, generator: np.random.Generator, shift: float) -> set[str]:
    """Return the verdicts of a family of comparisons whose treatment is shifted against its control."""
    metric, direction, delta, draw = KINDS[kind]
    part = Part(
        id="part",
        title={"en": "part", "zh": "部分"},
        grid="claims",
        corpora=("docstrings",),
        treatment=Arm(condition="post_ln"),
        control=Arm(condition="post_ln"),
        metric=metric,
        direction="higher" if direction == "higher" else "lower",
        delta=delta,
        test=kind.split()[0],
    )
    family = [measured(some_claim(), part, *sides(generator, draw, shift)) for _ in range(MEMBERS)]
    return {verdict(*each) for each in zip(family, holm([member.p_value for member in family]), strict=True)}


def verdict(member: MeasuredPart, adjusted: Adjusted) -> str:
    """Judge without the smallest detectable effect, which takes most of the time and decides nothing."""
    interval = interval_of(member, adjusted) if member.pairs >= FEWEST_SEEDS else None
    return judge_interval(interval, member.part.delta, pairs=member.pairs, doubts=member.arms.doubts).name


def sides(generator: np.random.Generator, draw: Draw, shift: float) -> tuple[dict[int, Value], dict[int, Value]]:
    treatment = {seed: draw(generator, shift) for seed in range(SEEDS)}
    return treatment, {seed: draw(generator, 0.0) for seed in range(SEEDS)}


def measured(claim: Claim, part: Part, treatment: dict[int, Value], control: dict[int, Value]) -> MeasuredPart:
    return MeasuredPart(
        claim=claim,
        part=part,
        corpus="docstrings",
        is_confirmatory=True,
        planned=2 * SEEDS,
        found=2 * SEEDS,
        arms=compare(part, treatment, control),
        seeds=SEEDS,
        shown={},
    )


@pytest.mark.parametrize("kind", KINDS)
def test_of_families_of_equals_at_most_five_in_a_hundred_have_a_confirmed_member(kind: str) -> None:
    generator = np.random.default_rng(7)
    confirmed = sum("confirmed" in judged(kind, generator, 0.0) for _ in range(FAMILIES))
    assert confirmed / FAMILIES <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / FAMILIES)


@pytest.mark.parametrize("kind", KINDS)
def test_of_families_whose_effects_are_delta_at_most_five_in_a_hundred_have_a_refuted_member(kind: str) -> None:
    """A shift that makes the true effect at least δ for every kind, and little more than it for scores."""
    shift = {"paired_t": 0.2, "intersection_union": 0.2, "censored_ratio": -0.2, "paired_outcomes": -0.1}
    generator = np.random.default_rng(8)
    refuted = sum("refuted" in judged(kind, generator, shift[kind.split()[0]]) for _ in range(FAMILIES))
    assert refuted / FAMILIES <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / FAMILIES)


@pytest.mark.parametrize(
    ("kind", "favourable"), [("paired_t", 1.0), ("censored_ratio", -1.5), ("intersection_union", 1.0)]
)
def test_a_large_effect_is_confirmed_and_its_opposite_never(kind: str, favourable: float) -> None:
    generator = np.random.default_rng(9)
    assert judged(kind, generator, favourable) == {"confirmed"}
    assert judged(kind, generator, -favourable) <= {"refuted", "inconclusive"}


@pytest.mark.parametrize("kind", ["paired_t", "intersection_union"])
def test_an_effect_against_the_claim_refutes_it(kind: str) -> None:
    assert judged(kind, np.random.default_rng(9), -1.0) == {"refuted"}


def test_runs_that_fail_on_one_side_alone_decide() -> None:
    never, always = (dict.fromkeys(range(SEEDS), (failed,) * 3) for failed in (False, True))
    claim = load_claims(["norm_stability"])[0]
    part = next(part for part in claim.parts if part.metric == "failure_share")
    for treatment, control, expected in ((never, always, "confirmed"), (always, never, "refuted")):
        member = measured(claim, part, dict(treatment), dict(control))
        assert verdict(member, holm([member.p_value])[0]) == expected
