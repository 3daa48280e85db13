"""Pooled effects against metafor's documented example, another library, an own formula and simulated corpora."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq

from experiments.statistics.components import MeanEstimate
from experiments.statistics.pooling import PooledEffect, pool, random_effects
from experiments.statistics.words import pooled_word

# Thirteen trials of a vaccine against tuberculosis (Colditz et al. 1994), cases and others, treated and controls:
# `dat.bcg` of R's metafor, whose README prints what `rma(yi, vi, test="knha")` and `predict` say of them.
BCG = np.array(
    [
        (4, 119, 11, 128),
        (6, 300, 29, 274),
        (3, 228, 11, 209),
        (62, 13536, 248, 12619),
        (33, 5036, 47, 5761),
        (180, 1361, 372, 1079),
        (8, 2537, 10, 619),
        (505, 87886, 499, 87892),
        (29, 7470, 45, 7232),
        (17, 1699, 65, 1600),
        (186, 50448, 141, 27197),
        (5, 2493, 3, 2338),
        (27, 16886, 29, 17825),
    ],
    dtype=float,
)


def log_risk_ratios() -> tuple[np.ndarray, np.ndarray]:
    a, b, c, d = BCG.T
    return np.log(a / (a + b) / (c / (c + d))), np.sqrt(1 / a - 1 / (a + b) + 1 / c - 1 / (c + d))


def estimates(effects: np.ndarray, errors: np.ndarray) -> dict[str, MeanEstimate]:
    return {
        f"corpus {place}": MeanEstimate(float(effect), 5, float(error) ** 2, 4)
        for place, (effect, error) in enumerate(zip(effects, errors, strict=True))
    }


def restricted_likelihood(effects: np.ndarray, variances: np.ndarray) -> float:
    """Return τ² by REML, the root of its score (Viechtbauer 2005)."""

    def score(tau_squared: float) -> float:
        w = 1 / (variances + tau_squared)
        mean = (w @ effects) / w.sum()
        return float(w**2 @ (effects - mean) ** 2 - w.sum() + (w**2).sum() / w.sum())

    return float(brentq(score, 1e-6, 10))


def test_mean_error_interval_and_prediction_are_those_that_metafor_prints() -> None:
    effects, errors = log_risk_ratios()
    tau_squared = restricted_likelihood(effects, errors**2)
    assert round(tau_squared, 4) == 0.3132
    mean, se = random_effects(effects, errors, tau_squared)
    assert (round(mean, 4), round(se, 4), round(mean / se, 4)) == (-0.7145, 0.1808, -3.9522)
    found = PooledEffect(mean, se, math.sqrt(tau_squared), dict.fromkeys(map(str, range(13)), 0.0))
    low, high = found.interval() or (0, 0)
    assert (round(low, 4), round(high, 4)) == (-1.1084, -0.3206)
    assert found.p_value == pytest.approx(0.0019, abs=5e-5)
    # metafor takes k − 1 degrees for a new study, where we take k − 2 (Higgins et al. 2009): its spread is ours.
    ends = found.prediction() or (0, 0)
    spread = (ends[1] - ends[0]) / 2 / stats.t.ppf(0.975, 11)
    printed = [round(math.exp(mean + sign * stats.t.ppf(0.975, 12) * spread), 2) for sign in (-1, 1)]
    assert printed == [0.14, 1.76]


def test_the_spread_over_corpora_is_paule_and_mandels() -> None:
    effects, errors = log_risk_ratios()
    found = pool(estimates(effects, errors))

    def equation(tau_squared: float) -> float:
        w = 1 / (errors**2 + tau_squared)
        return float(w @ (effects - (w @ effects) / w.sum()) ** 2) - 12

    assert found is not None and found.count == 13
    assert found.tau**2 == pytest.approx(brentq(equation, 1e-6, 10), rel=1e-4)
    small = pool(estimates(effects / 1000, errors / 1000))
    assert small is not None
    assert [small.mean, small.se, small.tau] == pytest.approx([x / 1000 for x in (found.mean, found.se, found.tau)])


def test_effects_that_happen_to_agree_do_not_narrow_the_interval() -> None:
    found = pool(estimates(np.array([0.0101, 0.0100, 0.0099, 0.0100]), np.full(4, 0.01)))
    assert found is not None and found.tau == 0
    assert found.se == pytest.approx(0.01 / math.sqrt(4))
    assert found.interval() == pytest.approx(stats.t.interval(0.95, 3, found.mean, found.se))
    assert found.prediction(0.8) == pytest.approx(stats.t.interval(0.8, 2, found.mean, found.se))


def test_corpora_made_of_the_same_texts_count_as_one() -> None:
    given = {
        name: MeanEstimate(mean, 5, se**2, 4)
        for name, mean, se in (("sst2", 0.02, 0.01), ("sst5", 0.04, 0.02), ("sst2_glue", 0.06, 0.03), ("trec", 0, 0.01))
    }
    found = pool(given)
    alone = pool({"one": MeanEstimate(0.04, 5, 0.02**2, 4), "trec": given["trec"]})
    assert found is not None and alone is not None
    assert dict(found.effects) == pytest.approx({"sst": 0.04, "trec": 0.0})
    assert (found.mean, found.se) == pytest.approx((alone.mean, alone.se))
    assert pool({name: given[name] for name in ("sst2", "sst5")}) is None


def test_few_corpora_get_no_word_and_no_prediction() -> None:
    effects, errors = np.array([0.2, 0.21, 0.19, 0.2]), np.full(4, 0.001)
    words = [pooled_word(pool(estimates(effects[:k], errors[:k])), 0.01) for k in range(5)]
    assert words == [None, None, None, None, "helps"]
    two = pool(estimates(effects[:2], errors[:2]))
    assert two is not None and two.prediction() is None and two.interval() is not None


def test_a_corpus_without_any_spread_has_no_known_error() -> None:
    given = estimates(np.array([0.1, 0.2, 0.3]), np.array([0.01, 0.0, 0.02]))
    found = pool(given)
    assert found is not None and list(found.effects) == ["corpus 0", "corpus 2"]


@pytest.mark.parametrize("corpora", [4, 6])
@pytest.mark.parametrize("tau", [0.0, 0.02])
def test_pooled_intervals_hold_the_mean_effect(corpora: int, tau: float) -> None:
    generator, experiments, held = np.random.default_rng(corpora), 600, 0
    errors = np.linspace(0.005, 0.02, corpora)
    for _ in range(experiments):
        effects = 0.03 + generator.normal(0, tau, corpora) + generator.normal(0, errors)
        found = pool(estimates(effects, errors))
        ends = found.interval() if found else None
        assert ends is not None
        held += ends[0] <= 0.03 <= ends[1]
    # Where errors differ, its degrees are rather too many: up to two points are lacking (Röver, Knapp & Friede 2015).
    assert held / experiments >= 0.95 - 0.02 - 3 * math.sqrt(0.95 * 0.05 / experiments)


def test_a_prediction_interval_holds_the_effect_on_a_new_corpus() -> None:
    generator, experiments, held = np.random.default_rng(0), 600, 0
    errors = np.full(6, 0.005)
    for _ in range(experiments):
        truth = generator.normal(0.03, 0.02, 7)
        found = pool(estimates(truth[:6] + generator.normal(0, errors), errors))
        ends = found.prediction() if found else None
        assert ends is not None
        held += ends[0] <= truth[6] <= ends[1]
    assert held / experiments >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / experiments)
