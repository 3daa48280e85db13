"""The one-page answer's words follow from its tables: made-up results of longer budgets change each sentence."""

from collections.abc import Callable
from pathlib import Path

import pytest

from docs import answer_words
from docs.answer_words import at_my_size, better, how_sure, lost, tuned_start, which_block
from docs.committed import NOT_RUN, RESULTS, committed
from docs.tables import filled
from tests.test_docs import LONGEST_SENTENCE, sentences

Row = dict[str, str]
TRAINED, UNTRAINED = "trained 3 of 3 against 1 of 3", "trained 0 of 3 against 3 of 3"


@pytest.fixture
def with_effects(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts effects of the grid `budget` into the committed table, by the name of a comparison."""

    def put(effects: dict[str, tuple[str, str]], every: tuple[str, str] | None = None) -> None:
        def changed(row: Row) -> Row:
            said = effects.get(row["comparison"], every) if row["grid"] == "budget" else None
            if said is None:
                return row
            mean, word = said
            ends = {
                name: f"{float(mean) + sign * 0.01:.3f}" if mean else "" for name, sign in (("low", -1), ("high", 1))
            }
            steps = "" if word == NOT_RUN else "2000" if "_4n" in row["comparison"] else "500"
            return row | ends | {"mean": mean, "word": word, "steps": steps, "pairs": "3"}

        def instead(name: str) -> list[Row]:
            return [changed(row) for row in committed(name)] if name == answer_words.EFFECTS else committed(name)

        monkeypatch.setattr(answer_words, "committed", instead)

    return put


def page() -> str:
    return filled((RESULTS / "README.md").read_text(encoding="utf-8"), "")


def test_nothing_of_the_budget_is_claimed_before_it_is_run(with_effects: Callable[..., None]) -> None:
    with_effects({}, every=("", NOT_RUN))
    assert at_my_size()[0] == "- Four times the steps at six, 12 and 24 layers: not yet run."
    assert tuned_start() == ["No line yet tunes the start of the embeddings, which is 0.02."]
    assert dict(how_sure())["budget"].endswith("4N steps run in 0 of 4 lines")
    assert lost()[3][2:] == ["4N steps", *[NOT_RUN] * 5]
    assert lost()[1][2] == "375 to 760 steps"


def test_six_layers_alone_fill_their_own_cells(with_effects: Callable[..., None]) -> None:
    parts = ("skips", "post_norms", "pre_norms", "both", "place")
    told = {f"{part}_6_docstrings_1n": ("0.060", "helps") for part in parts}
    told |= {f"{part}_6_docstrings_4n": ("0.001", "no difference that matters") for part in parts}
    with_effects(told)
    words = at_my_size()
    assert words[0].startswith(
        "- At six layers, what is lost in N and then in 4N steps. Skips: 0.060 (helps), then 0.001"
    )
    assert words[1] == "- Four times the steps at 12 and 24 layers: not yet run."
    assert tuned_start()[1:] == ["- docstrings at 6 layers in 500 steps", "- docstrings at 6 layers in 2,000 steps"]
    assert dict(how_sure())["start"].startswith("tuned in 2 of 9 lines")
    assert lost()[2][3].startswith("[0.060 (0.050 to 0.070): helps]")
    assert lost()[4][2] == "1,563 steps" and lost()[5][3] == NOT_RUN


@pytest.mark.parametrize(
    ("word", "wins"),
    [
        *(("helps", "pre_ln"), ("harms", "no_norm"), ("not settled", None), ("no difference that matters", None)),
        *(("both dead", None), (NOT_RUN, None), (TRAINED, "pre_ln"), (UNTRAINED, "no_norm")),
        ("trained 2 of 3 against 4 of 6", None),
    ],
)
def test_a_word_favours_a_side_or_leaves_it_open(word: str, wins: str | None) -> None:
    assert better("pre_norms", {"word": word}) == wins


def test_a_block_is_named_only_while_no_comparison_goes_against_it(with_effects: Callable[..., None]) -> None:
    with_effects({"pre_norms_6_docstrings_4n": ("-0.050", "harms")})
    bold, *_ = which_block()
    assert bold.startswith("**No block is best everywhere.**")
    assert "Pre-LN 10:1," in bold and "No norm 1:3," in bold
    assert not any("trains at each" in line for line in which_block())
    with_effects({"pre_norms_6_docstrings_4n": ("", UNTRAINED)})
    assert which_block()[0].startswith("**No block is best everywhere.**")
    with_effects({"pre_norms_6_docstrings_4n": ("0.050", "helps")})
    assert which_block()[0].startswith("**Pre-LN with residual connections.**")


@pytest.mark.parametrize(
    "every",
    [
        *(("0.123", "helps"), ("-0.123", "harms"), ("0.001", "no difference that matters"), ("0.020", "not settled")),
        *(("", "both dead"), ("0.777", TRAINED), ("", UNTRAINED), ("", NOT_RUN)),
    ],
)
def test_the_page_can_be_read_and_filled_again_whatever_came_out(
    every: tuple[str, str], with_effects: Callable[..., None]
) -> None:
    with_effects({}, every=every)
    text = page()
    assert filled(text, "") == text
    assert "nan" not in text.lower()
    assert every[1] in text
    for sentence in sentences(text):
        assert len(sentence.split()) <= LONGEST_SENTENCE, sentence
    if not every[0] or every[1] == TRAINED:
        assert "0.777" not in text, "a mean of runs of which some failed says nothing"


def test_how_often_a_tuning_seed_chooses_differently_is_read_from_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = tmp_path / "budget" / "docstrings" / "report.md"
    report.parent.mkdir(parents=True)
    report.write_text("Tuning lottery: 7 of 30 pairs of tuning seeds choose different values, at 10 settings.\n")
    monkeypatch.setattr(answer_words, "RESULTS", tmp_path)
    said = "; [7 of 30 pairs of seeds](results:budget/docstrings/report.md) do on docstrings in `budget`"
    assert dict(how_sure())["tuning"].endswith(said)
