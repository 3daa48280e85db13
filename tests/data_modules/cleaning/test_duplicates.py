from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from data_modules.cleaning.duplicates import near_duplicate_pairs, near_duplicates, shingles

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


def test_one_changed_word_in_a_long_text_is_nearly_the_same() -> None:
    text = "the quick brown fox jumps over the lazy dog and then runs far away from the old farm house"
    assert near_duplicates([text, "something else entirely"], [text.replace("house", "barn")], 0.7).tolist() == [
        True,
        False,
    ]


def test_chinese_text_is_compared_by_characters() -> None:
    assert near_duplicates(["残差连接与层归一化的作用研究"], ["残差连接与层归一化的作用分析"], 0.6).all()
