"""Intervals over seeds and test rows: against closed forms, another bootstrap and simulated truth."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import f1_score

from experiments.statistics.components import MeanEstimate, ResampledSplit, SeedScores
from experiments.statistics.rows import METRICS, accuracy, macro_f1
from experiments.statistics.words import holds_in_family, word_for

GROUPS, SIZE, SKILL, EXPERIMENTS = 40, 5, 0.7, 400


def within(share: float, trials: int) -> float:
    """Return three standard errors of a share."""
    return 3 * math.sqrt(share * (1 - share) / trials)


def simulated(
    generator: np.random.Generator, split: ResampledSplit, seeds: int, sides: int, *, groups_vary: bool, apart: float
) -> list[list[SeedScores]]:
    """Draw experiments with several sides each, which answer the same rows; a row is right or wrong.

    A group's difficulty is shared by all seeds and, but for a part of its own, by all sides.
    """
    shared = generator.uniform(-0.15, 0.15, (EXPERIMENTS, 1, 1, GROUPS)) * groups_vary
    own = generator.uniform(-0.1, 0.1, (EXPERIMENTS, sides, 1, GROUPS)) * groups_vary
    luck = generator.uniform(-0.05, 0.05, (EXPERIMENTS, sides, seeds, 1))
    chance = np.repeat(SKILL + shared + own + luck, SIZE, axis=-1)
    chance[:, 1:] += apart
    right = (generator.random(chance.shape) < chance).reshape(*chance.shape[:-1], GROUPS, SIZE).mean(axis=-1)
    scores, replicas = right.mean(axis=-1), right @ split.times.T / GROUPS  # groups are equally large
    return [
        [
            SeedScores(dict(enumerate(scores[place])), dict(enumerate(replicas[place])), split.units, split.unit)
            for place in ((experiment, side) for side in range(sides))
        ]
        for experiment in range(EXPERIMENTS)
    ]


@pytest.fixture(scope="module")
def split() -> ResampledSplit:
    rows = GROUPS * SIZE
    return ResampledSplit(np.zeros(rows, dtype=int), np.repeat(np.arange(GROUPS), SIZE), group="file", resamples=300)


@pytest.mark.parametrize("groups_vary", [False, True])
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_intervals_hold_the_truth_of_seeds_and_groups(split: ResampledSplit, seeds: int, groups_vary: bool) -> None:
    generator = np.random.default_rng(seeds + 100 * groups_vary)
    apart = 0.05
    experiments = simulated(generator, split, seeds, 2, groups_vary=groups_vary, apart=apart)
    means = [sides[0].mean() for sides in experiments]
    differences = [sides[1].minus(sides[0]) for sides in experiments]
    for truth, estimates in ((SKILL, means), (apart, differences)):
        for confidence in (0.9, 0.95):
            held = 0
            for estimate in estimates:
                ends = estimate.interval(confidence) if estimate else None
                assert estimate is not None and ends is not None and estimate.covers == "seeds and test files"
                held += ends[0] <= truth <= ends[1]
            assert held / EXPERIMENTS >= confidence - within(confidence, EXPERIMENTS)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_intervals_hold_the_truth_whatever_the_share_of_seeds(seeds: int, share: float) -> None:
    """Satterthwaite's alone would hold it in 92.5 % where three seeds make up four fifths of the variance."""
    generator, groups, experiments = np.random.default_rng(seeds), 300, 2500
    of_seeds = share * generator.chisquare(seeds - 1, experiments) / (seeds - 1)
    of_rows = (1 - share) * generator.chisquare(groups - 1, experiments) / (groups - 1)
    held = 0
    for mean, first, second in zip(generator.normal(size=experiments), of_seeds, of_rows, strict=True):
        estimate = MeanEstimate(mean, seeds, first, seeds - 1, second, groups)
        ends, alone = estimate.interval(), MeanEstimate(mean, seeds, first, seeds - 1).interval()
        assert ends is not None and alone is not None and ends[0] <= alone[0] and alone[1] <= ends[1]
        assert ((estimate.p_value or 0.0) > 0.05) == (ends[0] < 0 < ends[1])
        held += ends[0] <= 0 <= ends[1]
    assert held / experiments >= 0.95 - within(0.95, experiments)


def test_seeds_alone_cover_too_seldom_where_groups_vary(split: ResampledSplit) -> None:
    experiments = simulated(np.random.default_rng(4), split, 10, 1, groups_vary=True, apart=0.0)
    held = np.zeros(2)
    for (side,) in experiments:
        both, alone = side.mean(), SeedScores(side.scores, {}).mean()
        for place, estimate in enumerate((both, alone)):
            ends = estimate.interval() if estimate else None
            assert ends is not None
            held[place] += ends[0] <= SKILL <= ends[1]
    assert held[0] / EXPERIMENTS >= 0.95 - within(0.95, EXPERIMENTS)
    assert held[1] / EXPERIMENTS < 0.85


@pytest.mark.parametrize("groups_vary", [False, True])
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_equal_sides_get_a_word_for_an_effect_in_at_most_five_of_a_hundred(
    split: ResampledSplit, seeds: int, groups_vary: bool
) -> None:
    """Of single comparisons; and, by Holm, of whole families of four."""
    generator = np.random.default_rng(7 * seeds + groups_vary)
    experiments = simulated(generator, split, seeds, 5, groups_vary=groups_vary, apart=0.0)
    words, families = 0, 0
    for control, *others in experiments:
        effects = [side.minus(control) for side in others]
        words += sum(word_for(effect, 1e-6) in ("helps", "harms") for effect in effects)
        families += any(holds_in_family(effects))
    assert words / (4 * EXPERIMENTS) <= 0.05 + within(0.05, 4 * EXPERIMENTS)
    assert families / EXPERIMENTS <= 0.05 + within(0.05, EXPERIMENTS)


def test_the_variance_of_groups_is_that_of_a_mean_over_groups() -> None:
    """Groups of equal size: the accuracy is a mean over groups, whose variance has a closed form."""
    generator = np.random.default_rng(0)
    answers = (generator.random((3, GROUPS * SIZE)) > generator.random(GROUPS).repeat(SIZE)).astype(int)
    groups = np.arange(GROUPS).repeat(SIZE)
    split = ResampledSplit(np.zeros(GROUPS * SIZE, dtype=int), groups, resamples=8000)
    found = split.score(dict(enumerate(answers)), accuracy).mean()
    by_group = (answers == 0).mean(axis=0).reshape(GROUPS, SIZE).mean(axis=1)
    assert found is not None and found.row_variance is not None
    assert found.row_variance == pytest.approx(by_group.var(ddof=1) / GROUPS, rel=0.05)
    scores = (answers == 0).mean(axis=1)
    assert found.mean == pytest.approx(scores.mean())
    assert found.seed_variance == pytest.approx(scores.var(ddof=1) / 3)


def test_a_difference_has_no_variance_of_rows_where_sides_answer_alike() -> None:
    generator = np.random.default_rng(1)
    labels, first = generator.integers(0, 3, 60), generator.integers(0, 3, (2, 60))
    split = ResampledSplit(labels)
    scored = split.score(dict(enumerate(first)), macro_f1)
    found = scored.minus(scored)
    assert found is not None and (found.mean, found.variance, found.row_variance) == (0, 0, 0)
    assert found.interval() is None and found.p_value is None


def test_scores_and_replicas_are_scikit_learns() -> None:
    generator = np.random.default_rng(2)
    labels, answer = generator.integers(0, 4, 50), generator.integers(0, 4, 50)
    groups = pd.Series([f"file {row // 5}" for row in range(50)])
    split = ResampledSplit(labels, groups, resamples=20)
    scores, replicas = split.replicas({"run": answer}, METRICS)["macro_f1"]
    assert scores["run"] == pytest.approx(f1_score(labels, answer, average="macro"))
    for times, replica in zip(split.times, replicas["run"], strict=True):
        rows = np.repeat(np.arange(50), times.astype(int)[np.arange(50) // 5])
        assert replica == pytest.approx(f1_score(labels[rows], answer[rows], average="macro"))
    assert split.times.sum(axis=1).tolist() == [10] * 20


def test_rows_that_a_run_did_not_score_count_for_nothing() -> None:
    labels, answer = np.array([0, 1, 1, 0, 1]), np.array([0, 1, 0, -1, -1])
    split = ResampledSplit(labels, resamples=10)
    scores, _ = split.replicas({0: answer}, {"f1": macro_f1})["f1"]
    assert scores[0] == pytest.approx(f1_score(labels[:3], answer[:3], average="macro"))


def test_degrees_are_satterthwaites_and_lie_between_the_smaller_and_the_sum() -> None:
    estimate = MeanEstimate(0.1, 5, 0.02**2, 4, 0.03**2, 337, "file")
    expected = (0.02**2 + 0.03**2) ** 2 / (0.02**4 / 4 + 0.03**4 / 336)
    assert estimate.degrees == pytest.approx(expected)
    assert estimate.se == pytest.approx(math.hypot(0.02, 0.03))
    low, high = estimate.interval(0.9) or (0, 0)
    oracle = stats.t.interval(0.9, expected, 0.1, math.hypot(0.02, 0.03))
    assert (low, high) == pytest.approx(oracle)
    assert estimate.p_value == pytest.approx(2 * stats.t.sf(0.1 / estimate.se, expected))
    assert MeanEstimate(0.1, 5, 0.02**2, 4).degrees == 4
    assert MeanEstimate(0.1, 5, 0.0, 4, 0.03**2, 10).degrees == 9
    assert MeanEstimate(0.1, 5, 0.02**2, 4).covers == "seeds only"


def test_sides_without_a_common_seed_are_compared_as_welch_does() -> None:
    first, second = {0: 0.70, 1: 0.72, 2: 0.69}, {5: 0.60, 6: 0.66, 7: 0.61, 8: 0.62}
    found = SeedScores(first, {}).minus(SeedScores(second, {}))
    oracle = stats.ttest_ind(list(first.values()), list(second.values()), equal_var=False)
    assert found is not None and found.degrees == pytest.approx(oracle.df)
    assert found.p_value == pytest.approx(oracle.pvalue)
    assert found.interval() == pytest.approx(tuple(oracle.confidence_interval()))


def test_seeds_in_common_are_paired_and_others_left_out() -> None:
    first, second = {0: 0.70, 1: 0.72, 2: 0.69}, {1: 0.60, 2: 0.66, 3: 0.1}
    found = SeedScores(first, {}).minus(SeedScores(second, {}))
    assert found is not None and found.count == 2
    assert found.mean == pytest.approx((0.12 + 0.03) / 2)
    assert found.seed_variance == pytest.approx(np.var([0.12, 0.03], ddof=1) / 2)
    assert SeedScores({0: 0.7}, {}).minus(SeedScores({0: 0.6}, {})) is None
    assert SeedScores({0: 0.7}, {}).mean() is None and SeedScores({}, {}).mean() is None


def test_what_lacks_the_answers_of_one_seed_speaks_of_seeds_only() -> None:
    replica = np.array([0.1, 0.2, 0.3])
    both = SeedScores({0: 0.1, 1: 0.2}, {0: replica, 1: replica}, 3)
    one = SeedScores({0: 0.1, 1: 0.3}, {0: replica}, 3)
    found = [both.mean(), one.mean(), both.minus(one)]
    assert [each.covers for each in found if each] == ["seeds and test rows", "seeds only", "seeds only"]
    single = SeedScores({0: 0.1, 1: 0.2}, {0: replica, 1: replica}, 1).mean()
    assert single is not None and single.covers == "seeds only", "one group tells nothing of groups"


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_numbers_that_are_none_are_refused(broken: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        SeedScores({0: 0.1, 1: broken}, {}).mean()
    with pytest.raises(ValueError, match="no split"):
        ResampledSplit(np.array([], dtype=int))
    with pytest.raises(ValueError, match="do not fit"):
        ResampledSplit(np.array([0, 1])).score({0: np.array([0])}, accuracy)
    with pytest.raises(ValueError, match="others have none"):
        ResampledSplit(np.array([0, 1]), pd.Series(["a", None]))
