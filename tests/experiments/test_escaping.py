"""A name that somebody else chose is shown as it is in every medium: nothing acts, nothing is lost."""

from __future__ import annotations

import csv
import html
import io
import re

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console

from experiments.escaping import (
    as_markdown_code,
    for_latex,
    for_markdown,
    for_picture,
    for_spreadsheet,
    for_terminal,
    visible,
)
from experiments.reporting.render import TextTable, to_csv, to_latex, to_markdown

HOSTILE = {
    "terminal escape": "\x1b[31mred\x1b[0m",
    "right-to-left override": "abc\u202egpj.exe",
    "isolate": "\u2066x\u2069",
    "bell and null": "a\x07b\x00",
    "byte order mark": "\ufeffname",
    "lone surrogate": "\ud800",
    "c1 control": "\x9b31m",
}


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_what_would_act_is_spelled_out_and_names_stay_apart(name: str) -> None:
    shown = visible(name)
    assert shown.isprintable()
    assert "\\" in shown
    shown.encode()
    assert len({visible(other) for other in HOSTILE.values()}) == len(HOSTILE)


@pytest.mark.parametrize("name", ["torch", "体育", "été", "👩\u200d🔬", "می\u200cخواهم", "a b", "two\nlines"])
def test_ordinary_names_of_any_language_stay_as_they_are(name: str) -> None:
    assert visible(name) == name


@pytest.mark.parametrize(
    "name", [*HOSTILE.values(), "[bold]x[/bold]", "[/]", "[link=https://x.y]z[/link]", "a\\b", "\\[b]"]
)
def test_a_terminal_prints_the_characters_and_obeys_none(name: str) -> None:
    stream = io.StringIO()
    Console(file=stream, force_terminal=True, color_system="truecolor", width=200).print(
        for_terminal(name), highlight=False
    )
    assert stream.getvalue().removesuffix("\n") == visible(name)


def test_markdown_neither_links_nor_formats_nor_breaks_a_cell() -> None:
    name = "a|b <script>alert(1)</script> [x](y) `c` & ~~no~~ $d_e$ \\ *f*\nnew line"
    markdown = to_markdown(TextTable(["class", "F1"], [[name, "0.5"]]))
    assert len(markdown.splitlines()) == 3
    (line,) = markdown.splitlines()[2:]
    assert len(re.findall(r"(?<!\\)\|", line)) == 3
    assert "<" not in line
    assert not re.search(r"(?<!\\)[\[\]`*~$]", line)
    shown = html.unescape(re.sub(r"\\([^\w\s])", r"\1", line.split(" | ")[0]))  # what a reader sees
    assert shown == f"| {name}".replace("\n", " ")


@pytest.mark.parametrize("name", ["https://evil.example", "see http://x.y/z", "www.evil.example", "WWW.EVIL.EXAMPLE"])
def test_bare_addresses_do_not_become_links(name: str) -> None:
    assert not re.search(r"(?i)\w://|www\.", for_markdown(name))


@pytest.mark.parametrize(
    ("name", "shown"),
    [("# title", "\\# title"), ("- item", "\\- item"), ("1. item", "1\\. item"), ("0.5", "0.5"), ("-3", "-3")],
)
def test_a_line_does_not_open_a_heading_or_a_list(name: str, shown: str) -> None:
    assert for_markdown(name) == shown


def test_a_code_span_holds_any_text() -> None:
    assert as_markdown_code("a`b\nc\u202e") == "`a'b c\\u202e`"


def test_latex_shows_special_characters() -> None:
    name = "a & 50% $d_e$ \\ {f} #1 ~^ \u202e\nnew line"
    latex = for_latex(name)
    assert not re.search(r"(?<!\\)[%$&_#]", latex.replace(r"$-$", ""))
    assert "\n" not in latex and "\u202e" not in latex
    table = to_latex(TextTable(["class", "F1"], [["[0.1]", "0.5"]]), "t", "caption")
    assert "{[}0.1]" in table


@pytest.mark.parametrize("name", ["=1+1", "+cmd|' /C calc'!A0", "@SUM(A1)", "-2+3", "\t=1", "\n=1", '=HYPERLINK("x")'])
def test_the_spreadsheet_copy_runs_no_formula_and_the_data_stay_exact(name: str) -> None:
    assert for_spreadsheet(name) == f"'{name}"
    table = TextTable(["class"], [[name]])
    assert list(csv.reader(io.StringIO(to_csv(table), newline=""))) == [["class"], [name]]
    assert list(csv.reader(io.StringIO(to_csv(table, for_spreadsheet), newline="")))[1] == [f"'{name}"]


@pytest.mark.parametrize("text", ["-0.25", "+1", "-1e-5", "0.5", "torch", ""])
def test_numbers_and_plain_names_stay_as_they_are_in_the_spreadsheet_copy(text: str) -> None:
    assert for_spreadsheet(text) == text


@pytest.mark.parametrize("name", ["$10_$20", r"$\badcommand$", "a$b", r"\$5", "$x^$"])
def test_a_picture_shows_dollars_as_dollars(name: str) -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.plot([1, 2], [1e-3, 1e3], label=name)
    axes.set_yscale("log")
    axes.set_xticks([1, 2], [name, "b"])
    axes.set_title(name)
    axes.legend()
    figure.suptitle(name)
    for_picture(figure)
    FigureCanvasAgg(figure).draw()  # raises on what matplotlib cannot parse
    texts = [figure.get_suptitle(), axes.get_title(), axes.get_legend().get_texts()[0].get_text()]
    assert [*texts, axes.get_xticklabels()[0].get_text()] == [name] * 4
    assert not any(
        text.get_parse_math() for text in [axes.title, *axes.get_xticklabels(), *axes.get_legend().get_texts()]
    )
    assert all(label.get_parse_math() for label in axes.get_yticklabels()), "powers of ten stay"


def test_a_picture_spells_control_characters_out() -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.set_title("a\u202eb\nsecond line")
    axes.set_xticks([0], ["\x1b"])
    for_picture(figure)
    FigureCanvasAgg(figure).draw()
    assert axes.get_title() == "a\\u202eb\nsecond line"
    assert axes.get_xticklabels()[0].get_text() == "\\x1b"
