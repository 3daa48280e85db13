"""From synthetic records to effects and words, against scipy, enumeration and rules worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from synthetic_records import LABELS, ROWS, make_record, predict, rows_of, scores_of, with_scores

from experiments.evidence.claim import Arm, Comparison
from experiments.evidence.effects import (
    NOT_RUN,
    Bounds,
    MeasuredEffect,
    ShareEffect,
    WeakestEffect,
    answer_comparison,
    measure_effect,
    seeds_estimate,
    share_power,
)
from experiments.reporting.frame import Description, Row, make_rows
from experiments.runs.naming import run_name
from experiments.runs.record import Outcome, Record
from experiments.runs.store import Evidence
from experiments.statistics.components import MeanEstimate
from experiments.statistics.outcomes import PairedOutcomes
from experiments.statistics.words import BOTH_DEAD, Word, word_for

NATURAL = ("docstrings", "ag_news", "trec", "sst5")
DIFFERENCES = (0.04, 0.05, 0.045, 0.055)


def comparison(**changes: Any) -> Comparison:
    values: dict[str, Any] = {
        "id": "with",
        "title": {"en": "with against without", "zh": "有与无相比"},
        "grid": "claims",
        "corpora": ("docstrings",),
        "treatment": Arm(condition="post_ln"),
        "control": Arm(condition="no_norm"),
        "metric": "macro_f1",
        "direction": "higher",
        "delta": 0.01,
        "lead": True,
    }
    return Comparison(**{**values, **changes})


def scored(shift: float = 0.0) -> list[Row]:
    """Both sides with four seeds, which differ by DIFFERENCES."""
    records = []
    for seed, difference in enumerate(DIFFERENCES):
        for condition, score in (("post_ln", 0.6 + difference + shift), ("no_norm", 0.6)):
            records.append(with_scores(make_record(condition, seed), "test", macro_f1=score))
    return rows_of(*records)


def collapsed(condition: str, seed: int, score: float = 0.07) -> Record:
    return with_scores(replace(make_record("no_residual", seed), condition=condition), "test", macro_f1=score)


def test_an_effect_on_scores_has_the_t_interval_of_paired_seeds() -> None:
    found = measure_effect(comparison(), "docstrings", scored())
    assert isinstance(found.effect, MeanEstimate) and found.effect.mean == pytest.approx(np.mean(DIFFERENCES))
    expected = stats.t.interval(0.95, 3, np.mean(DIFFERENCES), stats.sem(DIFFERENCES))
    assert found.effect.interval() == pytest.approx(expected)
    assert (found.said, found.pairs, found.covers) == ("helps", 4, "seeds only")
    turned = measure_effect(comparison(direction="lower"), "docstrings", scored())
    assert turned.effect is not None and turned.effect.mean == pytest.approx(-np.mean(DIFFERENCES))
    assert turned.said == "harms"


def test_what_has_no_records_is_not_yet_run() -> None:
    only = [row for row in scored() if row.condition == "post_ln"]
    assert measure_effect(comparison(), "docstrings", only).said == NOT_RUN
    answered = answer_comparison(comparison(), {})
    assert (answered.word, answered.pooled, answered.power) == ("", None, None)


@pytest.mark.parametrize("metric", ["macro_f1", "steps_to_target", "gap_at_common_train_f1"])
def test_two_dead_sides_have_no_effect_even_if_they_answer_different_classes(metric: str) -> None:
    records = [collapsed("post_ln", seed, 0.0716) for seed in range(4)]
    records += [collapsed("no_norm", seed, 0.0610) for seed in range(4)]
    rows = rows_of(*records, make_record("tfidf_logistic_regression", 0))
    found = measure_effect(comparison(metric=metric, direction="higher"), "docstrings", rows)
    assert found.said == BOTH_DEAD
    answered = answer_comparison(comparison(corpora=NATURAL), dict.fromkeys(NATURAL, rows))
    assert (answered.pooled, answered.word) == (None, "")


def test_a_side_that_failed_in_part_has_a_share_and_no_word_and_is_not_pooled() -> None:
    records = [make_record("post_ln", seed) for seed in range(4)]
    records += [make_record("no_norm", seed) for seed in range(3)] + [collapsed("no_norm", 3)]
    found = measure_effect(comparison(), "docstrings", rows_of(*records))
    assert found.said == "trained 4 of 4 against 3 of 4"
    by_corpus = {corpus: scored() for corpus in NATURAL} | {"sst5": rows_of(*records)}
    answered = answer_comparison(comparison(corpora=NATURAL), by_corpus)
    assert answered.pooled is not None and answered.pooled.count == 3


def test_natural_text_is_pooled_from_two_sources_and_has_a_word_from_four() -> None:
    for count, word in ((2, ""), (3, ""), (4, "helps")):
        corpora = (*NATURAL[:count], "listops")
        rows = {corpus: scored(0.002 * place) for place, corpus in enumerate(corpora)}
        answered = answer_comparison(comparison(corpora=corpora), rows)
        assert answered.pooled is not None and answered.pooled.count == count, "listops is no natural text"
        assert answered.word == word
        assert answered.power is not None


def arriving(condition: str, seed: int, step: int | None) -> Record:
    """A run whose validation score crosses the target, 0.702, at a step; never where that is None."""
    steps = [50, 100, 150, 200]
    scores = [0.9 if step is not None and at >= step else 0.1 for at in steps]
    history = {"validation": {"step": steps, "macro_f1": scores}}
    return replace(make_record(condition, seed), history=history)


def of_times(fast: Sequence[int | None], slow: Sequence[int | None]) -> MeasuredEffect:
    records = [arriving("post_ln", seed, step) for seed, step in enumerate(fast)]
    records += [arriving("no_norm", seed, step) for seed, step in enumerate(slow)]
    rows = rows_of(*records, make_record("tfidf_logistic_regression", 0))
    return measure_effect(comparison(metric="steps_to_target", direction="lower", delta=0.4), "docstrings", rows)


def test_times_that_are_not_reached_bound_what_can_be_said() -> None:
    both = of_times([100, 100, 150, 100], [200, 200, 200, 150])
    assert (both.said, both.bounds) == ("helps", Bounds())
    never = of_times([100, 100, 150, 100], [None, None, 200, None])
    assert (never.said, never.bounds) == ("helps", Bounds(may_be_higher=3))
    late = of_times([None, None, None, 200], [100, 100, 150, 100])
    assert (late.said, late.bounds) == ("harms", Bounds(may_be_lower=3))
    alike = of_times([200, 200, 200, 200], [200, None, 200, 200])
    assert alike.effect is not None and alike.said == "not settled", "the true difference may be larger"
    assert of_times([None] * 4, [None] * 4).effect is None


@pytest.mark.parametrize(
    ("bounds", "allowed"),
    [
        (Bounds(), {"helps", "harms", "no difference that matters", "not settled"}),
        (Bounds(may_be_higher=1), {"helps", "not settled"}),
        (Bounds(may_be_lower=1), {"harms", "not settled"}),
        (Bounds(1, 1), {"not settled"}),
    ],
)
def test_bounds_allow_the_words_that_hold_whatever_the_true_times_are(bounds: Bounds, allowed: set[str]) -> None:
    words: tuple[Word, ...] = ("helps", "harms", "no difference that matters", "not settled")
    assert {word for word in words if bounds.allows(word)} == allowed


def ended(condition: str, seed: int, clip: float | None, failed: bool) -> Record:
    record = make_record(condition, seed, swept={"trainer.gradient_clip_val": clip, "model.learning_rate": 0.01})
    return replace(record, outcome=Outcome(status="collapsed", step=200)) if failed else record


def test_failures_are_paired_by_seed_and_by_what_is_swept_besides() -> None:
    records = [ended("post_ln", seed, clip, False) for seed in range(10) for clip in (1.0, None)]
    records += [ended("no_norm", seed, clip, clip is not None) for seed in range(10) for clip in (1.0, None)]
    swept = {"model.learning_rate": 0.01}
    sides = {"treatment": Arm(condition="post_ln", swept=swept), "control": Arm(condition="no_norm", swept=swept)}
    about = comparison(metric="failure_share", direction="lower", delta=0.1, corpora=("docstrings", "trec"), **sides)
    found = measure_effect(about, "docstrings", rows_of(*records))
    assert isinstance(found.effect, ShareEffect) and (found.effect.mean, found.pairs) == (0.5, 20)
    assert found.said == "helps", "ten pairs of twenty that all differ one way"
    answered = answer_comparison(about, dict.fromkeys(about.corpora, rows_of(*records)))
    assert answered.together is not None and len(answered.together.outcomes.favoured) == 40
    low, high = answered.together.interval()
    assert answered.word == "helps" and found.effect.interval()[0] < low < 0.5 < high <= 1


def test_the_power_of_failures_is_that_of_enumeration() -> None:
    pairs, delta = 8, 0.1
    words = []
    for failed in range(pairs + 1):
        outcomes = PairedOutcomes((False,) * pairs, (True,) * failed + (False,) * (pairs - failed))
        words.append(word_for(ShareEffect(outcomes), delta))
    found = share_power(pairs, delta)
    for times, chance in found.helps.items():
        masses = stats.binom.pmf(range(pairs + 1), pairs, times * delta)
        assert chance == pytest.approx(sum(mass for mass, word in zip(masses, words, strict=True) if word == "helps"))


def test_the_weakest_component_decides_and_its_upper_end_is_shared_out() -> None:
    generator = np.random.default_rng(1)
    values = {name: generator.normal(mean, 0.02, 6) for name, mean in (("a", 0.1), ("b", 0.03), ("c", 0.2))}
    known = {name: seeds_estimate(found.tolist()) for name, found in values.items()}
    weakest = WeakestEffect({name: found for name, found in known.items() if found is not None})
    assert weakest.weakest == "b" and weakest.mean == pytest.approx(values["b"].mean())
    at = {name: (found.mean(), stats.sem(found)) for name, found in values.items()}
    interval = weakest.interval()
    assert interval is not None
    assert interval[0] == pytest.approx(min(stats.t.interval(0.95, 5, *each)[0] for each in at.values()))
    assert interval[1] == pytest.approx(min(stats.t.interval(1 - 0.05 / 3, 5, *each)[1] for each in at.values()))
    still = seeds_estimate([0.0] * 6)
    assert still is not None and WeakestEffect({**weakest.components, "d": still}).interval() is None


def answered_evidence(skills: dict[str, float], seeds: int = 5) -> list[Row]:
    """Rows of runs whose answers to the test rows are known."""
    records = [make_record(condition, seed) for condition in skills for seed in range(seeds)]
    frame = pd.DataFrame({"row": np.arange(ROWS), "group": None, "label": LABELS})
    frame["group"] = frame["group"].astype("string")
    for record in records:
        frame[run_name(record)] = predict(skills[record.condition], record.seed)
    return make_rows(Evidence(records, frame, pd.DataFrame()), Description(arguments="toy", title="Toy"))


def test_every_class_and_measure_is_scored_from_the_answers_with_seeds_and_rows() -> None:
    rows = answered_evidence({"post_ln": 0.95, "no_norm": 0.4})
    every = comparison(metric="class_precision_recall_f1")
    found = measure_effect(every, "docstrings", rows)
    assert isinstance(found.effect, WeakestEffect) and len(found.effect.components) == 9
    assert found.covers == "seeds and test rows" and found.said == "helps"
    name, what = found.weakest.rsplit(" ", 1)
    key = {"precision": "precision", "recall": "recall", "F1": "f1"}[what]
    assert set(found.treatment) == set(range(5))
    for seed in range(5):
        entries = scores_of(LABELS, predict(0.95, seed), None).details["per_class"]
        expected = next(entry[key] for entry in entries if entry["class"] == name)
        assert found.treatment[seed] == pytest.approx(expected)
    assert measure_effect(every, "docstrings", answered_evidence({"post_ln": 0.4, "no_norm": 0.95})).said == "harms"


def test_the_gain_of_rare_classes_is_compared_too() -> None:
    rows = answered_evidence({"post_ln": 0.95, "no_norm": 0.4})
    found = measure_effect(comparison(metric="rare_class_lead"), "docstrings", rows)
    assert isinstance(found.effect, MeanEstimate) and found.weakest == "" and found.pairs == 5


def of_equals(generator: np.random.Generator) -> Word:
    return word_for(seeds_estimate(generator.normal(0, 0.02, 5).tolist()), 1e-9)


def test_two_equals_are_said_to_differ_in_about_5_of_100() -> None:
    generator = np.random.default_rng(5)
    wrong = sum(of_equals(generator) in ("helps", "harms") for _ in range(600))
    assert wrong / 600 <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 600)
