from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_modules import unicode
from data_modules.unicode import composed

LETTERS = st.sampled_from("aé\u00df가\u1100\u0f73\u0f75\u0344\u212b\U0001d15e")
MARKS = st.sampled_from("\u0301\u0316\u0327\u0345\u0f71\u0f73\u0f81\u0344\u05b0\u1161\U0001d165\u3099")


@given(st.lists(LETTERS | MARKS, max_size=40).map("".join) | st.text(max_size=40))
def test_it_is_the_composed_form(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unicode, "LONG_RUN", 2)
        assert composed(text) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("marks", ["\u0301\u0316", "\u0344\u0316", "\u0f73", "\u0315\u0300\u05b0"])
def test_very_many_marks_after_a_letter_take_seconds_at_most(marks: str) -> None:
    started = time.monotonic()
    assert len(composed("a" + marks * 80_000)) >= 80_000
    assert time.monotonic() - started < 10  # minutes, where they are put in order one by one
