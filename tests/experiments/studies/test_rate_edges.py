"""The search for the largest rate survived: against a plain scan of all rates, in few runs, in any company."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from experiments.errors import ExperimentError, RecordError
from experiments.studies.rate_edges import (
    BASE,
    QUESTION,
    RateQuestion,
    RateTrial,
    begin_of,
    edges_of,
    gather_trials,
    packed,
    search_edge,
    write_trial,
)

QUESTION_FILE = RateQuestion.read()
SETUP = QUESTION_FILE.setup


def trial(power: int, seed: int, *, survives: bool, scheme: str = BASE, layers: int = 6) -> RateTrial:
    return RateTrial(
        scheme=scheme,
        layers=layers,
        power=power,
        rate=SETUP.rate(power),
        seed=seed,
        ending="survived" if survives else "not finite",
        step=200,
        first_loss=5.0,
        last_loss=2.7 if survives else None,
        unigram_loss=3.0,
        losses=[5.0, 2.7],
        setup_hash=SETUP.hash(),
    )


def searched(edges: dict[int, int], begin: int = 2) -> tuple[int | None, list[RateTrial]]:
    """Search where seed ``s`` survives every power up to ``edges[s]``; return what was found, and the trials."""
    made: list[RateTrial] = []
    while (wanted := search_edge(SETUP, made, begin).next) is not None:
        power, seed = wanted
        assert wanted not in [(t.power, t.seed) for t in made], "a trial is made once"
        made.append(trial(power, seed, survives=power <= edges[seed]))
    return search_edge(SETUP, made, begin).power, made


@pytest.mark.parametrize("begin", [SETUP.lowest, 0, 2, SETUP.highest])
def test_the_edge_is_the_largest_rate_that_all_seeds_survive(begin: int) -> None:
    for first in range(SETUP.lowest - 1, SETUP.highest + 1):
        for second in range(SETUP.lowest - 1, SETUP.highest + 1):
            found, made = searched({0: first, 1: second}, begin)
            expected = min(first, second)
            assert found == (expected if expected >= SETUP.lowest else None)
            assert all(SETUP.lowest <= t.power <= SETUP.highest for t in made)


def test_an_edge_where_the_search_begins_takes_three_runs() -> None:
    assert len(searched({0: 4, 1: 4}, begin=4)[1]) == 3


def test_a_window_between_a_rate_that_kills_and_one_that_is_too_slow_is_found() -> None:
    made: list[RateTrial] = []
    while (wanted := search_edge(SETUP, made, 6).next) is not None:
        made.append(trial(*wanted, survives=wanted[0] in (0, 1)))
    assert search_edge(SETUP, made, 6).power == 1
    assert len(made) == len({(t.power, t.seed) for t in made})


def test_a_search_depends_on_its_trials_and_not_on_their_order() -> None:
    _, made = searched({0: 5, 1: 3})
    assert search_edge(SETUP, made[::-1], 2) == search_edge(SETUP, made, 2)


def test_a_failure_just_above_the_edge_is_told() -> None:
    _, made = searched({0: 4, 1: 2})
    edge = search_edge(SETUP, made, 2)
    assert edge.power == 2
    assert [(t.power, t.seed) for t in edge.failures] == [(3, 1)]


def test_other_schemes_begin_at_the_edge_of_pre_ln_at_their_depth() -> None:
    _, made = searched({0: 5, 1: 5})
    cells = {(BASE, 6): made}
    assert begin_of(QUESTION_FILE, ("post_ln", 6), cells) == 5
    assert begin_of(QUESTION_FILE, ("post_ln", 12), cells) == SETUP.begin


def test_trials_are_read_back_and_those_of_another_setup_are_not(tmp_path: Path) -> None:
    _, made = searched({0: 3, 1: 3})
    for each in made:
        write_trial(tmp_path, each)
    write_trial(tmp_path, replace(made[0], layers=12, setup_hash="0" * 16))
    assert gather_trials(tmp_path, QUESTION_FILE) == sorted(made, key=lambda t: (t.power, t.seed))
    assert edges_of(QUESTION_FILE, made)[BASE, 6].power == 3
    assert packed(made) == packed(list(made))


def test_a_damaged_trial_counts_as_missing_and_a_damaged_committed_file_is_named(tmp_path: Path) -> None:
    write_trial(tmp_path, trial(3, 0, survives=True))
    (path,) = tmp_path.rglob("rate=*.json")
    path.write_text(path.read_text(encoding="utf-8")[:40], encoding="utf-8")
    assert gather_trials(tmp_path, QUESTION_FILE) == []
    committed = tmp_path / "zoo_stability" / "measurements.jsonl.gz"
    committed.parent.mkdir()
    committed.write_bytes(b"no gzip")
    with pytest.raises(RecordError, match="is damaged"):
        gather_trials(tmp_path, QUESTION_FILE)


def test_every_field_of_the_question_is_checked(tmp_path: Path) -> None:
    text = QUESTION.read_text(encoding="utf-8")
    path = tmp_path / "question.yaml"
    for before, after, message in (
        ("  begin: 2", "  begin: 99", "setup.begin is 99"),
        ("  last: 20", "  last: 0", "setup.last is 0"),
        ("post_ln,", "post_nl,", "post_ln"),
        ("  margin:", "  margins:", "margin"),
    ):
        assert before in text
        path.write_text(text.replace(before, after), encoding="utf-8")
        with pytest.raises(ExperimentError, match=message):
            RateQuestion.read(path)


def test_cells_begin_with_the_classics_and_hold_each_cell_once() -> None:
    cells = QUESTION_FILE.cells()
    assert cells[:2] == [("pre_ln", 6), ("post_ln", 6)]
    assert len(cells) == len(set(cells))
    assert {layers for _, layers in cells} == {6, 12, 24, 48}
    assert ("batch_norm", 6) not in cells, "it mixes in later tokens"
