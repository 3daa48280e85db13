from __future__ import annotations

import gzip
import inspect
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_modules.cleaning.duplicates import shingles
from data_modules.cleaning.prepared import PreparedCorpus, prepare
from data_modules.config import DataConfig, DocstringsOptions, ProseOptions
from data_modules.sources import prose
from data_modules.sources.docstrings import PACKAGES, build, mask, read_package, site_packages
from data_modules.sources.paragraphs import docstrings as read_docstrings
from data_modules.sources.paragraphs import is_prose, plain, without_indentation
from data_modules.sources.source import SPLITS

RECORDS = Path(__file__).resolve().parents[3] / "results" / "quick" / "docstrings" / "records.jsonl.gz"


def test_the_corpus_is_large_and_no_class_is_rare(docstrings: PreparedCorpus) -> None:
    assert docstrings.class_names == PACKAGES
    assert len(docstrings.splits["train"]) >= 12_000
    for name in SPLITS:
        counts = np.bincount(docstrings.splits[name]["label"][:], minlength=5)
        assert counts.min() >= 0.5 * counts.max()


def test_it_is_the_text_of_the_committed_records(docstrings: PreparedCorpus) -> None:
    with gzip.open(RECORDS, "rt", encoding="utf-8") as lines:
        data = json.loads(next(lines))["data"]
    assert (docstrings.fingerprint, docstrings.split_hash) == (data["fingerprint"], data["split_hash"])


def test_no_file_and_no_text_is_in_two_splits(docstrings: PreparedCorpus) -> None:
    for column in ("group", "text"):
        values = [set(docstrings.splits[name][column][:]) for name in SPLITS]
        assert not values[0] & values[1] and not values[0] & values[2] and not values[1] & values[2]


def test_no_near_duplicate_of_a_test_row_is_in_train(docstrings: PreparedCorpus) -> None:
    train = [shingles(text) for text in docstrings.splits["train"]["text"][:]]
    by_shingle: dict[tuple[str, ...], list[int]] = {}
    for row, items in enumerate(train):
        for item in items:
            by_shingle.setdefault(item, []).append(row)
    for text in docstrings.splits["test"]["text"][:300]:
        own = shingles(text)
        for row in {row for item in own for row in by_shingle.get(item, [])}:
            assert len(own & train[row]) / len(own | train[row]) < 0.7


def test_no_row_names_its_package(docstrings: PreparedCorpus) -> None:
    names = re.compile("torch|transformers|numpy|pandas|sympy", re.IGNORECASE)
    for name in SPLITS:
        assert not [text for text in docstrings.splits[name]["text"][:] if names.search(text)]


def test_preparing_again_takes_the_cache(
    docstrings: PreparedCorpus, docstrings_config: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_modules.sources.docstrings.build", lambda *_: pytest.fail("built a second time"))
    again = prepare(docstrings_config)
    assert (again.fingerprint, again.split_hash) == (docstrings.fingerprint, docstrings.split_hash)
    assert again.splits["test"]["text"][:] == docstrings.splits["test"]["text"][:]


def test_a_package_that_two_corpora_share_is_read_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    read = []

    def paragraphs_of(folder: Path, package: str) -> list[tuple[str, str]]:
        read.append(package)
        return [(f"{package}/a.py", f"The {package} package has a paragraph here, of {package}.")]

    monkeypatch.setattr("data_modules.sources.docstrings.read_package", paragraphs_of)
    monkeypatch.setattr("data_modules.sources.docstrings.ROWS_PER_CLASS", 1)
    assert len(build(DocstringsOptions(), str(tmp_path)).splits["train"]) == 0  # masked, all texts are one
    found = prose.build(ProseOptions(), str(tmp_path)).splits["train"]
    assert found["group"].tolist() == [f"{package}/a.py" for package in prose.DISTRIBUTIONS]
    assert sorted(read) == sorted(prose.DISTRIBUTIONS)


def test_drawing_the_rows_again_gives_the_same_corpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    numpy_only = {"numpy": read_package(site_packages(), "numpy")}
    monkeypatch.setattr(
        "data_modules.sources.docstrings.read_package",
        lambda folder, package: read_package(folder, package) if package == "numpy" else numpy_only["numpy"][:50],
    )
    first, second = (
        build(DocstringsOptions(), str(tmp_path / name)) for name in ("one", "two")
    )  # each reads in a process with its own hash seed
    assert first.splits["train"].equals(second.splits["train"])
    assert first.report["contradictory"] > 0


def test_masking_hides_names_within_words_and_on_request_identifiers() -> None:
    assert mask("Use torch.Tensor, NumPy or np.array with __torch_function__", identifiers=False) == (
        "Use PACKAGE.Tensor, PACKAGE or PACKAGE.array with PACKAGE"
    )
    assert mask("An ndarray of a DataFrame in my_variable", identifiers=True) == (
        "An IDENTIFIER of a IDENTIFIER in IDENTIFIER"
    )


def test_docstrings_are_read_from_definitions_and_from_calls_that_attach_them() -> None:
    long = "Return the sum of all the elements that are in the given array."
    source = (
        f'"""Module."""\nclass A:\n    """Class."""\n    def f(self):\n        """Method."""\nadd(f, """{long}""")\n'
    )
    assert set(read_docstrings(source)) == {"Module.", "Class.", "Method.", long}


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("One line.", "One line."),
        ("\n    Opens late.\n\n    Goes on.\n      - deeper\n    ", "Opens late.\n\nGoes on.\n  - deeper"),
        ("First.\n\tA tab.\n        Eight spaces.", "First.\nA tab.\nEight spaces."),
        ("First.\n  \xa0 No-break space.\n    Spaces.", "First.\nNo-break space.\nSpaces."),
        ("First.\nNo indentation.\n  Some.", "First.\nNo indentation.\n  Some."),
        ("\n\n\n", ""),
    ],
)
def test_indentation_is_removed_alike_by_every_version_of_python(docstring: str, expected: str) -> None:
    # expected is written by hand: inspect.cleandoc answers differently from 3.13 on
    assert without_indentation(docstring) == expected


def test_a_source_that_needs_a_newer_grammar_is_left_out_by_every_version_of_python() -> None:
    with pytest.raises(SyntaxError):
        list(read_docstrings('def f[T](x: T) -> T:\n    """Since 3.12."""'))


@pytest.mark.skipif(
    sys.version_info >= (3, 13),
    reason="the oracle, inspect.cleandoc, changed in 3.13; ours must not",
)
@given(st.text("a \t\n\xa0b", max_size=40))
def test_indentation_is_removed_as_python_3_11_removed_it(docstring: str) -> None:
    assert without_indentation(docstring) == inspect.cleandoc(docstring)


@pytest.mark.parametrize(
    "paragraph",
    [
        ">>> print('this is the code that is in a doctest')",
        "x : array_like\n    The input that is to be summed over the given axis of it.",
        ".. note:: this is a directive and not a paragraph that people read",
        "Parameters\n----------",
        "too short",
    ],
)
def test_markup_is_not_prose(paragraph: str) -> None:
    assert not is_prose(paragraph)


def test_prose_loses_its_roles() -> None:
    text = "Use the class :class:`Linear <module.Linear>` for the\nlayer that ``maps`` each input to an output."
    assert is_prose(text)
    assert plain(text) == "Use the class Linear for the layer that maps each input to an output."
