"""Why an answer is given, and how many answers survive small edits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from statsmodels.stats.proportion import proportion_confint
from tiny_runs import make, tiny_run

from experiments.predict import main
from experiments.runs.explaining import explain, words_of
from experiments.runs.inference import TrainedModel
from experiments.runs.robustness import (
    EDITS,
    OTHER_WORD,
    Survival,
    edited,
    left_out_words,
    other_words,
    survival,
    swapped_letters,
)

Fail = Callable[..., str]
TEXT = "The big method gives large results, and people often use it to compute numbers quickly."


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("explain")
    return make(tiny_run(work / "cache", condition="bag_of_embeddings"), work / "results")


@pytest.fixture(scope="module")
def model(run: Path) -> TrainedModel:
    return TrainedModel.load(run)


@pytest.fixture
def fails(fails_with_one_line: Fail) -> Fail:
    return partial(fails_with_one_line, main)


def test_contributions_add_up_and_are_the_integral_of_gradients(model: TrainedModel) -> None:
    pytest.importorskip("captum", reason="requirements-export.txt is not installed")
    found = explain(model, "  <b>MAX 3 9</b> 2 ]")
    assert [word for word, _ in found.words] == ["MAX", "3", "9", "2", "]"]
    assert abs(found.gap) < 1e-4
    answer = model.answer(["MAX 3 9 2 ]"])
    assert (found.answer, found.probability) == (answer.predicted[0], pytest.approx(answer.probabilities.max()))
    network, ids = model.module.network, torch.tensor(model.data.encode_texts(["MAX 3 9 2 ]"]))
    vectors = network.backbone.embeddings.table(ids).detach()
    start = vectors.clone()
    start[:, 1:] = 0
    total = torch.zeros_like(vectors)
    for step in range(400):  # the midpoint rule, as an oracle
        point = (start + (step + 0.5) / 400 * (vectors - start)).requires_grad_()
        p = network(point, torch.ones_like(ids)).softmax(-1)[0, answer.probabilities[0].argmax()]
        total += torch.autograd.grad(p, point)[0] / 400
    expected = ((vectors - start) * total).sum(-1)[0, 1:]
    np.testing.assert_allclose([value for _, value in found.words], expected, atol=1e-5)


def test_pieces_of_one_word_are_shown_as_one() -> None:
    numbers, offsets = [None, 0, 0, 1], [(0, 0), (0, 3), (3, 7), (8, 10)]
    assert words_of("playing it", numbers, offsets, np.array([9.0, 0.5, 0.25, -1.0])) == (
        ("playing", 0.75),
        ("it", -1.0),
    )


def test_explain_prints_words_safely(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("captum", reason="requirements-export.txt is not installed")
    main([str(run), "--text", "MAX [red]7 \x1b[31m ]", "--explain"])
    said = capsys.readouterr().out
    assert "without any word" in said and "MAX" in said and "red" in said and "\x1b[31m" not in said


def test_letters_are_swapped_inside_words_alone() -> None:
    for seed in range(30):
        after = swapped_letters(TEXT, np.random.default_rng(seed))
        assert after != TEXT and sorted(after) == sorted(TEXT)
        for word, other in zip(TEXT.split(), after.split(), strict=True):
            assert (word[0], word.rstrip(".,")[-1]) == (other[0], other.rstrip(".,")[-1])
    assert swapped_letters("aaa bb", np.random.default_rng(0)) == "aaa bb"


def test_a_tenth_of_the_words_is_left_out() -> None:
    text = " ".join(f"w{number}" for number in range(30))
    after = left_out_words(text, np.random.default_rng(0)).split()
    assert len(after) == 27 and [word for word in text.split() if word in after] == after
    assert left_out_words("alone", np.random.default_rng(0)) == "alone"


def test_synonyms_take_each_others_place_and_keep_capitals() -> None:
    assert all(OTHER_WORD[OTHER_WORD[word]] == word for word in OTHER_WORD)
    assert other_words("Big", np.random.default_rng(0)) == "Large"
    assert other_words("nothing here", np.random.default_rng(0)) == "nothing here"


def test_an_edit_depends_on_text_and_seed_alone() -> None:
    assert edited(TEXT, "words left out") == edited(TEXT, "words left out")
    assert len({edited(TEXT, "words left out", seed) for seed in range(20)}) > 5


def test_survival_counts_the_answers_that_stay(model: TrainedModel) -> None:
    texts = [*model.data.texts("test"), "", "big small MAX 3 ]"]
    found = {each.edit: each for each in survival(model, texts)}
    before = model.answer(texts).predicted
    for edit in EDITS:
        after = [edited(text, edit) for text in texts]
        changed = [row for row, text in enumerate(texts) if after[row] != text]
        answers = model.answer(after).predicted
        assert found[edit].texts == len(changed)
        assert found[edit].survived == sum(answers[row] == before[row] for row in changed)
    assert found["synonyms"].texts == 1
    low, high = found["words left out"].interval or (0, 0)
    assert low <= (found["words left out"].share or 0) <= high
    assert Survival(edit="x", texts=20, survived=18).interval == pytest.approx(
        proportion_confint(18, 20, method="wilson")
    )
    assert Survival(edit="x", texts=0, survived=0).interval is None


def test_the_table_of_edits_is_printed_for_a_file(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.csv").write_text('text\n"MAX 3 9 ]"\n"MIN 3 4 ]"\n')
    main([str(run), "--file", str(tmp_path / "rows.csv"), "--robust"])
    said = capsys.readouterr().out
    assert "words left out" in said and "every edit" in said


def test_options_that_do_not_fit_end_with_one_line(run: Path, fails: Fail) -> None:
    assert "--explain belongs to --text" in fails(run, "--file", "x.csv", "--explain")
    assert "either --explain or --robust" in fails(run, "--text", "a", "--explain", "--robust")
    assert "writes no rows" in fails(run, "--file", "x.csv", "--robust", "--output", "y.csv")
    assert "must be a whole number" in fails(run, "--text", "a", "--robust", "--seed", -1)
