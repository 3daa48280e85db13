from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_modules.cleaning import duplicates
from data_modules.cleaning.duplicates import near_duplicate_pairs, near_duplicates, shingles
from data_modules.errors import DataError

TEXTS = st.lists(st.lists(st.sampled_from("abcd"), max_size=9).map(" ".join), max_size=12)


@settings(max_examples=200, deadline=None)
@given(TEXTS, TEXTS, st.sampled_from([0.3, 0.5, 0.7, 1.0]))
def test_the_index_finds_exactly_the_pairs_that_comparing_all_pairs_finds(texts, others, threshold) -> None:
    expected = {}
    for i, text in enumerate(texts):
        for j, other in enumerate(others):
            first, second = shingles(text), shingles(other)
            similarity = len(first & second) / len(first | second)
            if similarity >= threshold:
                expected[i, j] = similarity
    assert {(i, j): similarity for i, j, similarity in near_duplicate_pairs(texts, others, threshold)} == expected


def templated(start: int, rows: int) -> list[str]:
    """Rows of one template, of which no two differ in less than four of 21 words."""
    template = "the order of w was sent on x by our lorry to y shop in the old z and came well packed"
    words = template.split()
    places = [words.index(letter) for letter in "wxyz"]
    numbered = []
    for row in range(start, start + rows):
        own = list(words)
        for place in places:
            own[place] += str(row)
        numbered.append(" ".join(own))
    return numbered


def test_rows_of_one_template_are_compared_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "MOST_COMPARISONS", 3_000)  # of 6,000,000 pairs
    first, second = templated(0, 3_000), templated(3_000, 2_000)
    assert not near_duplicates(first, second, 0.7).any()
    assert near_duplicates(first, [*second, first[5]], 0.7).nonzero()[0].tolist() == [5]
    assert near_duplicates(first, second, 0.1).all()  # one comparison for each row


def test_a_search_without_end_gives_up_and_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "MOST_COMPARISONS", 1_000)
    assert len(list(near_duplicate_pairs(["a b c d"] * 20, ["a b c d"] * 20, 0.7))) == 400
    with pytest.raises(DataError, match=r"gave up after 1,000 comparisons.*near_duplicate_threshold to null"):
        list(near_duplicate_pairs(["a b c d"] * 40, ["a b c d"] * 40, 0.7))


def test_a_long_search_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(duplicates, "SECONDS_BETWEEN_WORDS", 0.0)
    near_duplicates(templated(0, 150), templated(150, 5), 0.7)
    assert [record.getMessage() for record in caplog.records] == [
        f"looking for near duplicates: {done} of 150 rows compared" for done in (0, 100)
    ]


def test_one_changed_word_in_a_long_text_is_nearly_the_same() -> None:
    text = "the quick brown fox jumps over the lazy dog and then runs far away from the old farm house"
    assert near_duplicates([text, "something else entirely"], [text.replace("house", "barn")], 0.7).tolist() == [
        True,
        False,
    ]


def test_chinese_text_is_compared_by_characters() -> None:
    assert near_duplicates(["残差连接与层归一化的作用研究"], ["残差连接与层归一化的作用分析"], 0.6).all()
