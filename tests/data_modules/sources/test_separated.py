"""Quotation marks, headers and bounds of csv and tsv files."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_modules.errors import DataError
from data_modules.sources.files import read_table
from data_modules.sources.separated import separated_pieces

SEPARATORS = {"csv": ",", "tsv": "\t"}
FORMATS = pytest.mark.parametrize("file_format", SEPARATORS)


def read(folder: Path, file_format: str, lines: list[str], names: list[str] | None = None) -> list[tuple[str, ...]]:
    """Return the rows of a file whose cells are separated by ``|`` in ``lines``."""
    path = folder / f"rows.{file_format}"
    path.write_text("\n".join(lines).replace("|", SEPARATORS[file_format]) + "\n", encoding="utf-8", newline="")
    return list(read_table(path, file_format, names=names).itertuples(index=False, name=None))


ORDINARY = [f"text {number}|{'pos' if number % 2 else 'neg'}" for number in range(60)]


def rows_of(lines: list[str]) -> list[tuple[str, ...]]:
    return [tuple(line.split("|")) for line in lines]


@FORMATS
@pytest.mark.parametrize("marked", [[7], [7, 30], [0], [59], [0, 1, 2, 58, 59]], ids=str)
def test_a_text_that_begins_with_a_mark_swallows_no_row(file_format: str, marked: list[int], tmp_path: Path) -> None:
    lines = [f'"{line}' if number in marked else line for number, line in enumerate(ORDINARY)]
    assert read(tmp_path, file_format, ["text|label", *lines]) == rows_of(lines)


@FORMATS
def test_a_mark_within_a_text_is_text(file_format: str, tmp_path: Path) -> None:
    lines = [
        'say "yes" now|pos',
        'a 5" screen|neg',
        'the end "|pos',
        "plain|neg",
        '"quoted" start|pos',
        'end "quoted"|neg',
    ]
    assert read(tmp_path, file_format, ["text|label", *lines]) == rows_of(lines)


@FORMATS
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
def test_what_pandas_writes_is_read_as_it_was(file_format: str, quoting: int, tmp_path: Path) -> None:
    texts = ["two\nlines", 'say "yes", or\tno', '"all"', "plain", "three\n\nlines, and\ttabs", "1", ""]
    frame = pd.DataFrame({"text": texts, "label": ["a", "b"] * 3 + ["a"]})
    path = tmp_path / f"rows.{file_format}"
    frame.to_csv(path, index=False, sep=SEPARATORS[file_format], quoting=quoting)
    pd.testing.assert_frame_equal(read_table(path, file_format), frame)


def test_marks_around_a_tsv_cell_that_needs_none_are_text_and_in_csv_they_are_not(tmp_path: Path) -> None:
    lines = ["text|label", '"Wow."|pos', "Oh.|neg"]
    assert read(tmp_path, "tsv", lines) == [('"Wow."', "pos"), ("Oh.", "neg")]
    assert read(tmp_path, "csv", lines) == [("Wow.", "pos"), ("Oh.", "neg")]


CELLS = st.text('ab",\t\n ', max_size=6)


@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=6))
def test_any_csv_that_keeps_the_rules_is_read_as_the_standard_library_reads_it(cells: list[tuple[str, str]]) -> None:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows([("text", "label"), *cells])
    expected = list(csv.reader(io.StringIO(written.getvalue()), strict=True))[1:]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        path.write_text(written.getvalue(), newline="")
        try:
            found = read_table(path, "csv")
        except DataError as error:
            assert "lines that look like rows" in str(error)
            return
    assert [list(row) for row in found.itertuples(index=False)] == [row for row in expected if row]


@FORMATS
def test_marks_that_can_be_neither_are_refused_with_their_line(file_format: str, tmp_path: Path) -> None:
    lines = ["text|label", *ORDINARY[:4], '"opened|pos', *ORDINARY[4:8], 'a|b|"c"|pos']
    with pytest.raises(
        DataError, match=rf"rows\.{file_format}, line 6: a quotation mark opens a cell and none closes it"
    ):
        read(tmp_path, file_format, lines)


def test_a_cell_of_many_lines_that_look_like_rows_is_refused(tmp_path: Path) -> None:
    lines = ["text|label", *ORDINARY[:4], '"opened|pos', *ORDINARY[4:20], 'closed"|pos', *ORDINARY[20:]]
    with pytest.raises(DataError, match=r"rows\.csv, line 6: a quotation mark makes one cell of 18 lines"):
        read(tmp_path, "csv", lines)


@FORMATS
def test_columns_of_a_file_without_header_are_named(file_format: str, tmp_path: Path) -> None:
    lines = [f"{number % 2}|title {number}|the text of number {number}" for number in range(5)]
    assert read(tmp_path, file_format, lines, ["label", "title", "text"]) == rows_of(lines)
    with pytest.raises(DataError, match=r"has 3 columns, but data\.columns names 2"):
        read(tmp_path, file_format, lines, ["label", "text"])


@FORMATS
def test_a_file_of_very_many_columns_is_refused_soon(file_format: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has 200,000 columns; at most 10,000 are read"):
        read(tmp_path, file_format, ["|".join(map(str, range(200_000))), "|" * 199_999])


@pytest.mark.parametrize("separator", [",", "\t"])
def test_two_columns_of_one_name_are_refused_and_unnamed_ones_are_not(separator: str, tmp_path: Path) -> None:
    path = tmp_path / "twice.txt"
    path.write_text(f"text{separator}label{separator}text\na{separator}b{separator}c\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"twice\.txt has two columns named 'text'"):
        list(separated_pieces(path, separator))
    path.write_text(f"text{separator}{separator}\na{separator}b{separator}c\n", encoding="utf-8")
    assert len(pd.concat(separated_pieces(path, separator))) == 1
