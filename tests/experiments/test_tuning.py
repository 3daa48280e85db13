"""Tuning: equal budgets, seeds of its own, and a choice on validation alone."""

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_records import make_record, with_scores

from experiments.errors import ExperimentError
from experiments.planning.conditions import Condition
from experiments.planning.run_config import RunConfig
from experiments.planning.search import ranking, scores_of, stage_config
from experiments.planning.tuning import FIRST_TUNING_SEED, Tuning
from experiments.runs.record import Outcome, Record

RATES = [1e-3, 3e-3, 1e-2]
TRIALS = tuple({"model.learning_rate": rate} for rate in RATES)


CONDITION = Condition(name="pre_ln", config=RunConfig(), trials=TRIALS)


def trial(rate: float, macro_f1: float | None, seed: int = FIRST_TUNING_SEED) -> Record:
    record = make_record("pre_ln", seed, "tune")
    values = {"model.learning_rate": rate}
    record = replace(record, tuned=values, config_hash=stage_config(RunConfig().with_values(values), "tune").hash())
    return replace(record, scores={}) if macro_f1 is None else with_scores(record, "validation", macro_f1=macro_f1)


def choose(records: list[Record], seeds: tuple[int, ...] = (FIRST_TUNING_SEED,)) -> dict[str, Any] | None:
    """What the listed trials choose by some records; None while one is missing."""
    scores = scores_of(CONDITION, TRIALS, records, seeds)
    return None if scores is None else ranking(TRIALS, scores, CONDITION)[0]


def space(**spaces: dict[str, list[float]]) -> dict[str, object]:
    return {"seeds": 1, "spaces": spaces}


def test_every_variant_gets_the_same_number_of_trials() -> None:
    default = {"model.learning_rate": [1e-3, 3e-3], "model.warmup_fraction": [0.0, 0.1]}
    own = {"model.learning_rate": [1e-3, 3e-3], "model.initialisation_gain": [0.5, 1.0]}
    tuning = Tuning.parse(space(default=default, plain=own))
    assert tuning is not None
    assert len(tuning.trials_of("plain")) == len(tuning.trials_of("pre_ln")) == 4
    with pytest.raises(ExperimentError, match="every variant must get the same number"):
        Tuning.parse(space(default=default, plain={"model.learning_rate": [1e-3]}))


def test_tuning_seeds_are_never_those_of_final_runs() -> None:
    tuning = Tuning.parse({"seeds": 3, "spaces": {"default": {"model.learning_rate": RATES}}})
    assert tuning is not None
    assert min(tuning.seeds) >= 1000 and len(set(tuning.seeds)) == 3


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ExperimentError, match="learning_rate"):
        Tuning.parse(space(default={"model.learning_rte": RATES}))
    with pytest.raises(ExperimentError, match="'plain'"):
        Tuning.parse(space(default={"model.learning_rate": RATES}, plane={"model.learning_rate": RATES}))


@given(st.permutations([0.2, 0.5, 0.9]), st.randoms())
def test_the_best_on_validation_is_chosen_in_whatever_order_records_come(scores: list[float], order: Random) -> None:
    records = [trial(rate, score) for rate, score in zip(RATES, scores, strict=True)]
    order.shuffle(records)
    assert choose(records) == TRIALS[scores.index(0.9)]


def test_the_first_trial_wins_a_tie() -> None:
    assert choose([trial(rate, 0.5) for rate in RATES]) == TRIALS[0]


def test_a_diverged_trial_never_wins() -> None:
    assert choose([trial(1e-3, None), trial(3e-3, 0.1), trial(1e-2, None)]) == TRIALS[1]


def test_nothing_is_chosen_while_a_trial_is_missing() -> None:
    assert choose([trial(1e-3, 0.9), trial(3e-3, 0.8)]) is None


def test_the_mean_over_all_tuning_seeds_decides() -> None:
    first = [trial(rate, score, 1000) for rate, score in zip(RATES, [0.9, 0.7, 0.1], strict=True)]
    second = [trial(rate, score, 1001) for rate, score in zip(RATES, [0.2, 0.7, 0.1], strict=True)]
    assert choose(first, seeds=(1000, 1001)) is None
    assert choose(first + second, seeds=(1000, 1001)) == TRIALS[1]


def test_a_trial_that_an_error_stopped_is_missing() -> None:
    failed = replace(trial(1e-2, None), outcome=Outcome(status="failed", step=0, reason="worker died"))
    assert choose([trial(1e-3, 0.9), trial(3e-3, 0.8), failed]) is None
