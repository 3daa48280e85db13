"""Make raw text plain: no HTML, no control characters, single spaces."""

from __future__ import annotations

import html
import re
from collections import Counter

from data_modules.unicode import composed

ELEMENTS_WITHOUT_TEXT = {
    name: (re.compile(rf"<{name}\b[^<>]*>", re.IGNORECASE), re.compile(rf"</{name}\s*>", re.IGNORECASE))
    for name in ("script", "style")
}
"""What opens and what closes an element whose content is no text."""
COMMENT = (re.compile("<!--"), re.compile("-->"))
TAG = re.compile(
    r"</?(?:a|abbr|address|article|aside|audio|b|blockquote|body|br|button|caption|center|cite|code|col|dd|del|details"
    r"|div|dl|dt|em|embed|fieldset|figcaption|figure|font|footer|form|h[1-6]|head|header|hr|html|i|iframe|img|input|ins"
    r"|kbd|label|li|link|main|mark|meta|nav|object|ol|optgroup|option|p|param|pre|q|s|samp|section|select|small|source"
    r"|span|strike|strong|sub|summary|sup|svg|table|tbody|td|textarea|tfoot|th|thead|time|title|tr|tt|u|ul|var|video"
    r"|wbr|!doctype)(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,31});", re.IGNORECASE)
SPACE = re.compile(r"\s+")
FORMATTING = ("\u200b", "\u2060", "\ufeff", "\u00ad")  # zero-width and soft-hyphen; joiners carry meaning and stay
DIRECTION = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # which way to write; a word is the same with and without
INVISIBLE = re.compile(f"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff{''.join(FORMATTING)}{DIRECTION}]")
MAXIMUM_PASSES = 8  # entities may hide entities ("&amp;lt;"); each pass removes one layer


def clean_text(text: str, counts: Counter[str] | None = None) -> str:
    """Return ``text`` without HTML tags, comments, entities, control characters and superfluous white space.

    Only names of HTML elements count as tags, so ``a < b > c`` and ``<mask>`` stay. Cleaning is idempotent, so tags
    written as entities (``&lt;b&gt;``) go as well. The text is brought to Unicode's composed form (NFC).

    Args:
        text: any string.
        counts: where given, counts the texts that had ``html_tags``, ``html_entities``, ``control_characters``,
            ``white_space``.
    """
    found: set[str] = set()
    for _ in range(MAXIMUM_PASSES):
        before = text
        if "<" in text:
            for opener, closer in (*ELEMENTS_WITHOUT_TEXT.values(), COMMENT):
                text = without_spans(text, opener, closer)
            text = TAG.sub(" ", text)
            if text != before:
                found.add("html_tags")
        if "&" in text:
            unescaped = ENTITY.sub(lambda match: html.unescape(match.group()), text)
            if unescaped != text:
                found.add("html_entities")
            text = unescaped
        visible = INVISIBLE.sub("", text)
        if visible != text:
            found.add("control_characters")
        text = composed(visible)
        if text == before:
            break
    single = SPACE.sub(" ", text).strip()
    if single != text and "html_tags" not in found:
        found.add("white_space")
    if counts is not None:
        counts.update(found)
    return single


def without_spans(text: str, opener: re.Pattern[str], closer: re.Pattern[str]) -> str:
    """Return ``text`` with a space for everything from an opener to the next closer; an opener without a closer stays.

    The time is linear in the text: one expression for the whole span would look for a closer from every opener.
    """
    kept, start = [], 0
    while (opened := opener.search(text, start)) and (closed := closer.search(text, opened.end())):
        kept.append(text[start : opened.start()])
        start = closed.end()
    return " ".join([*kept, text[start:]])
