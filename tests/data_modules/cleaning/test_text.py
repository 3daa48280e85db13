from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_modules.cleaning.text import clean_text, without_spans


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("<p>One</p><br/>two", "One two"),
        ("fish &amp; chips", "fish & chips"),
        ("&lt;b&gt;bold&lt;/b&gt; claim", "bold claim"),
        ("a\x00b\u200bc", "abc"),
        ("👩\u200d🔬 می\u200cخواهم", "👩\u200d🔬 می\u200cخواهم"),
        ("cafe\u0301 x² ½ Ａ", "café x² ½ Ａ"),
        ("\u202bمرحبا\u202c \u200eabc\u200f \u2067x\u2069", "مرحبا abc x"),
        (" many\t\n spaces ", "many spaces"),
        ("<script>var x = 1;</script>text<!-- hidden -->", "text"),
        ("<SCRIPT src='x'>a</script >b<style>c</STYLE>d", "b d"),
        ("a<!-- b --> c --> d <!-- e", "a c --> d <!-- e"),
        ("<script>a <!-- b <script> c", "<script>a <!-- b <script> c"),
        ("if a < b and c > d then <mask>", "if a < b and c > d then <mask>"),
        ("残差<b>连接</b>", "残差 连接"),
        ("<a href='x'>link</a> &#33; &unknownentity;", "link ! &unknownentity;"),
    ],
)
def test_markup_and_invisible_characters_go_and_text_stays(raw: str, clean: str) -> None:
    assert clean_text(raw) == clean


@given(st.lists(st.sampled_from(["<!--", "-->", "-", "<!", "x", " "])).map("".join))
def test_comments_end_where_a_lazy_expression_ends_them(text: str) -> None:
    opener, closer = re.compile("<!--"), re.compile("-->")
    assert without_spans(text, opener, closer) == re.sub("<!--.*?-->", " ", text)


@given(
    st.text()
    | st.lists(st.sampled_from(["<b>", "&lt;", "i>", "&amp;", "#65;", "x", " ", "<p", "gt;", "\x07"])).map("".join)
)
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    once = clean_text(text)
    assert clean_text(once) == once
    assert once == " ".join(once.split())


def test_each_kind_of_repair_is_counted_once_per_text() -> None:
    counts: Counter[str] = Counter()
    for text in ("<b>a</b><b>b</b>", "a &amp; b &amp; c", "plain", "a  b", "a\x01"):
        clean_text(text, counts)
    assert counts == {"html_tags": 1, "html_entities": 1, "white_space": 1, "control_characters": 1}
