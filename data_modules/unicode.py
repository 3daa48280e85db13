"""Unicode's composed form (NFC), in time that does not grow with the square of a run of combining marks."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import pairwise

LONG_RUN = 64
"""Runs of at least this many marks are put into order here."""
LAST_MARK = 0x1F000
"""From this code point on, no character is a mark or decomposes into one that begins with a mark."""


def composed(text: str) -> str:
    """Return ``unicodedata.normalize("NFC", text)``.

    Normalisation puts the marks after a letter into their canonical order by insertion, which takes minutes for 160,000
    of them. Long runs are decomposed and sorted first, with the same result (Unicode Standard Annex 15; D108 and D109
    of the core specification).
    """
    if text.isascii():
        return text
    if len(text) > LONG_RUN:
        text = _long_runs(LONG_RUN).sub(lambda run: _in_order(run.group()), text)
    return unicodedata.normalize("NFC", text)


def _in_order(marks: str) -> str:
    decomposed = "".join(unicodedata.normalize("NFD", mark) for mark in marks)
    return "".join(sorted(decomposed, key=unicodedata.combining))  # stable, as the canonical order is


@cache
def _long_runs(length: int) -> re.Pattern[str]:
    """Build the expression for at least ``length`` characters in a row that are, or begin with, a combining mark."""
    codes = [
        code
        for code in range(0x300, LAST_MARK)
        if not 0xD800 <= code < 0xE000 and unicodedata.combining(unicodedata.normalize("NFD", chr(code))[0])
    ]
    starts = [codes[0], *(code for before, code in pairwise(codes) if code != before + 1)]
    ends = [*(before for before, code in pairwise(codes) if code != before + 1), codes[-1]]
    ranges = "".join(f"{chr(start)}-{chr(end)}" for start, end in zip(starts, ends, strict=True))
    return re.compile(f"[{ranges}]{{{length},}}")
