r"""Text that somebody else chose, made safe to show: one function per medium, used wherever a name is shown.

Names of classes, columns, conditions and files come from data sets, grids and records. They may hold terminal
escapes, HTML, links, formulas or marks that turn the direction of writing. Data files keep them exactly.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

JOINERS = "\u200c\u200d"
"""Invisible marks that Persian words and emoji are spelled with."""
ACTING = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode's categories of control and format characters, surrogates, line and paragraph separators."""
MARKDOWN_MARKS = r"[\\|`*\[\]~$]"
MARKDOWN_LINKS = r"(?i)(?<=\w)(?=://)|(?<=\bwww)(?=\.)"
"""Places in bare addresses, which GitHub would turn into links."""
MARKDOWN_STARTS = r"^(?:[#+-]+(?=\s|$)|\d+(?=[.)](?:\s|$)))"
"""What opens a heading or a list at the start of a line."""
LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": "$-$",
    "×": r"$\times$",
    "–": "--",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "[": "{[}",  # at the start of a row it would be an argument of the line break before it
    **{character: rf"\{character}" for character in "&%$#_{}"},
}
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a spreadsheet takes for the start of a formula (OWASP, CSV injection)."""


def visible(text: str) -> str:
    r"""Spell out what would act instead of being seen, such as ``\x1b`` and ``\u202e``; line breaks stay.

    These are control characters, bidirectional and other format marks, and lone surrogates.
    """
    return "".join(character if _is_harmless(character) else _spelled_out(character) for character in text)


def one_line(text: str) -> str:
    """Do what :func:`visible` does, with every run of white space as one space."""
    return visible(" ".join(text.split()))


def for_terminal(text: str) -> str:
    """Escape text for :mod:`rich`, which reads square brackets as markup."""
    from rich.markup import escape

    return escape(visible(text))


def for_markdown(text: str) -> str:
    """Escape text for Markdown and the HTML within it, so that it stays on one line and in one table cell."""
    text = re.sub(MARKDOWN_MARKS, lambda match: f"\\{match[0]}", one_line(text))
    text = re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)
    text = re.sub(MARKDOWN_LINKS, r"\\", text)
    text = re.sub(MARKDOWN_STARTS, lambda match: f"{match[0]}\\" if match[0].isdigit() else f"\\{match[0]}", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def as_markdown_code(text: str) -> str:
    """Return text as a code span of Markdown; a back quote within it becomes an apostrophe."""
    return f"`{one_line(text).replace('`', chr(39)) or ' '}`"


def for_latex(text: str) -> str:
    """Escape text for LaTeX."""
    return "".join(LATEX.get(character, character) for character in one_line(text))


def for_spreadsheet(text: str) -> str:
    """Put an apostrophe before what a spreadsheet would run as a formula; numbers stay numbers.

    For copies that a person opens in a spreadsheet: the data files themselves keep every name exactly.
    """
    return f"'{text}" if text.startswith(FORMULA_STARTS) and not _is_number(text) else text


def for_picture(figure: Figure) -> None:
    """Let a figure show its texts as they are: ``$`` does not open mathematics, and control characters are spelled out.

    Powers of ten that matplotlib itself writes at an axis stay.
    """
    from matplotlib.text import Text
    from matplotlib.ticker import FuncFormatter, LogFormatter

    own = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            own.add(axis.get_offset_text())
            if isinstance(axis.get_major_formatter(), LogFormatter):
                own.update(axis.get_majorticklabels())
            if isinstance(axis.get_minor_formatter(), LogFormatter):
                own.update(axis.get_minorticklabels())
            if isinstance(named := axis.get_major_formatter(), FuncFormatter):  # ticks that have names
                axis.set_major_formatter(FuncFormatter(partial(_visible_tick, named)))
    for text in figure.findobj(Text):
        if text not in own:
            text.set_parse_math(False)
            text.set_text(visible(text.get_text()))


def _visible_tick(formatter: Callable[[float, int | None], str], value: float, place: int | None) -> str:
    return visible(formatter(value, place))


def _is_harmless(character: str) -> bool:
    return character in JOINERS or character == "\n" or unicodedata.category(character) not in ACTING


def _spelled_out(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
