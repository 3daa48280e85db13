"""The words at their edges, and their chances against simulation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from experiments.statistics.components import MeanEstimate
from experiments.statistics.words import (
    BOTH_DEAD,
    Endings,
    chances,
    holds_in_family,
    said_of,
    word_for,
    word_power,
)

DELTA = 0.01


@dataclass(frozen=True)
class Given:
    """An effect with the ends that a test wants."""

    wide: tuple[float, float]
    narrow: tuple[float, float]

    @property
    def mean(self) -> float:
        return sum(self.wide) / 2

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        return self.wide if confidence == 0.95 else self.narrow


@pytest.mark.parametrize(
    ("wide", "narrow", "expected"),
    [
        ((0.002, 0.03), (0.004, 0.028), "helps"),
        ((-0.03, -0.002), (-0.028, -0.004), "harms"),
        ((0.02, 0.03), (0.021, 0.029), "helps"),
        ((0.001, 0.009), (0.002, 0.008), "no difference that matters"),
        ((-0.009, -0.001), (-0.008, -0.002), "no difference that matters"),
        ((-0.005, 0.005), (-0.004, 0.004), "no difference that matters"),
        ((-0.012, 0.008), (-0.009, 0.007), "no difference that matters"),
        ((-0.012, 0.008), (-0.010, 0.007), "not settled"),
        ((-0.012, 0.011), (-0.011, 0.007), "not settled"),
        ((0.0, 0.03), (0.001, 0.028), "not settled"),
        ((-0.03, 0.0), (-0.028, -0.001), "not settled"),
        ((0.001, 0.010), (0.002, 0.009), "helps"),  # it reaches δ, so it does not lie inside
        ((0.001, 0.009999), (0.002, 0.009), "no difference that matters"),
        ((-0.5, 0.5), (-0.4, 0.4), "not settled"),
    ],
)
def test_the_rule_of_words(wide: tuple[float, float], narrow: tuple[float, float], expected: str) -> None:
    assert word_for(Given(wide, narrow), DELTA) == expected
    turned = Given((-wide[1], -wide[0]), (-narrow[1], -narrow[0]))
    assert word_for(turned, DELTA, higher_is_better=False) == expected


def test_an_effect_without_an_interval_is_not_settled() -> None:
    assert word_for(None, DELTA) == "not settled"
    assert word_for(MeanEstimate(0.3, 3, 0.0, 2), DELTA) == "not settled", (
        "equal differences tell nothing of their spread"
    )
    with pytest.raises(ValueError, match="positive"):
        word_for(None, 0.0)


def test_dead_sides_have_no_word() -> None:
    apart = MeanEstimate(0.0106, 3, 1e-12, 2)  # two majority classes, each answered by every seed
    dead, alive, hurt = Endings(0, 3), Endings(3, 3), Endings(2, 3)
    assert word_for(apart, DELTA) == "helps"
    assert said_of(apart, DELTA, dead, dead) == BOTH_DEAD
    assert said_of(apart, DELTA, alive, dead) == "trained 3 of 3 against 0 of 3"
    assert said_of(apart, DELTA, hurt, alive) == "trained 2 of 3 against 3 of 3"
    assert said_of(apart, DELTA, alive, alive) == "helps"
    assert said_of(apart, DELTA, alive, alive, higher_is_better=False) == "harms"


@pytest.mark.parametrize("effect", [0.0, 0.01, 0.02, -0.05])
@pytest.mark.parametrize(("se", "degrees"), [(0.002, 30.0), (0.004, 4.0), (0.01, 9.5)])
def test_chances_of_words_are_those_of_simulated_experiments(effect: float, se: float, degrees: float) -> None:
    generator, experiments = np.random.default_rng(3), 20_000
    means = generator.normal(effect, se, experiments)
    errors = se * np.sqrt(generator.chisquare(degrees, experiments) / degrees)
    wide, narrow = (stats.t.ppf(q, degrees) * errors for q in (0.975, 0.95))
    inside = (np.abs(means) + wide < DELTA, np.abs(means) + narrow < DELTA)
    helps, harms = ((sign * means > wide) & ~inside[0] for sign in (1, -1))
    nothing = inside[1] & ~helps & ~harms
    found = chances(effect, se, degrees, DELTA)
    simulated = {"helps": helps, "harms": harms, "no difference that matters": nothing}
    for word, cases in simulated.items():
        assert found[word] == pytest.approx(cases.mean(), abs=3.5 * math.sqrt(0.25 / experiments))
    assert sum(found.values()) == pytest.approx(1)


def test_chances_of_large_effects_are_the_power_of_the_t_test() -> None:
    """Far from 0 every interval that excludes 0 reaches δ, so that the word has the power of the test."""
    se, seeds = 0.01, 5
    power = TTestPower().power(0.04 / (se * math.sqrt(seeds)), seeds, 0.05)
    assert chances(0.04, se, seeds - 1, 1e-9)["helps"] == pytest.approx(power, abs=1e-6)


def test_power_grows_with_the_effect_and_falls_with_the_spread() -> None:
    precise, vague = (word_power(MeanEstimate(0.0, 10, se**2, 9), DELTA) for se in (0.002, 0.02))
    assert precise is not None and vague is not None
    assert list(precise.helps) == [1, 2, 5]
    assert precise.helps[5] > 0.99 and precise.no_difference > 0.95
    assert vague.helps[1] < vague.helps[2] < vague.helps[5] < 0.7 and vague.no_difference < 0.01
    assert word_power(MeanEstimate(0.1, 3, 0.0, 2), DELTA) is None and word_power(None, DELTA) is None
    with pytest.raises(ValueError, match="no chance"):
        chances(0.1, math.nan, 3, DELTA)


def test_a_family_of_words_holds_by_holm() -> None:
    strong, weak = MeanEstimate(0.1, 10, 0.01**2, 9), MeanEstimate(0.025, 10, 0.01**2, 9)
    assert word_for(weak, DELTA) == "helps"
    assert holds_in_family([strong, weak]) == [True, True]
    assert holds_in_family([strong, weak, *[MeanEstimate(0.0, 10, 0.01**2, 9)] * 8, None]) == [True, *[False] * 10]
