"""The docstrings of the packages are plain English: short sentences without the words that the pages avoid too.

A sentence is counted here as in `CONTRIBUTING.md`: at most 25 words between two marks of ``. ; : ! ?``. A code span and
a formula are one word each. Commands, literal blocks and aligned columns are no sentences.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
PACKAGES = ["data_modules", "lightning_modules", "experiments", "docs"]
LONGEST_SENTENCE = 25
CLUMSY = re.compile(r"\b(where there (is|are) none|stands?|beside|so many)\b", re.IGNORECASE)

CODE = re.compile(r"(:\w+:)?(`+)[^`]*\2")
OPERATOR = r"[=+*/·×÷≤≥<>≈←→↦∈−-]"
FORMULA = re.compile(rf"\S+(?:\s+{OPERATOR}+\s+\S+?(?=[.,;:!?)]*(?:\s|$)))+")
COLUMNS = re.compile(r"\S {3,}\S")


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    """The line and the text of every docstring: of modules, classes, functions and attributes."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, inspect.cleandoc(node.value.value)


def prose(docstring: str) -> Iterator[str]:
    """The paragraphs that are prose: no block that is indented after an empty line, no line of aligned columns."""
    for paragraph in re.split(r"\n\s*\n", docstring):
        if not paragraph.startswith(" "):
            yield "\n".join("." if COLUMNS.search(line) else line for line in paragraph.splitlines())


def sentences(docstring: str) -> Iterator[str]:
    """The sentences of a docstring, without its code."""
    for paragraph in prose(docstring):
        flat = " ".join(CODE.sub("X", re.sub(r"\n\s*[-*] ", ". ", paragraph)).split())
        yield from re.split(r"(?<=[.;:!?])[*)]*\s+", FORMULA.sub("X", flat))


def faults(source: str) -> list[str]:
    """What a file's docstrings say at too great a length or in clumsy words, with their lines."""
    return [
        f"{line}: {sentence}"
        for line, docstring in docstrings(source)
        for sentence in sentences(docstring)
        if len(sentence.split()) > LONGEST_SENTENCE or CLUMSY.search(sentence)
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings_are_short_and_plain(package: str) -> None:
    names = sorted(path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / package).rglob("*.py"))
    assert names
    found = [f"{name}:{fault}" for name in names for fault in faults((REPOSITORY / name).read_text(encoding="utf-8"))]
    assert not found, "\n".join(found)


LONG = " ".join(["word"] * 26)


@pytest.mark.parametrize(
    "docstring",
    [
        f"{LONG}.",
        "Say.\n\nArgs:\n    name: " + LONG.replace(" word word", "\n        word word", 1),
        "A row stands alone.",
        "A mask\nbeside it.",
    ],
)
def test_long_sentences_and_clumsy_words_are_found(docstring: str) -> None:
    assert len(faults(f'value = 1\n"""{docstring}"""\n')) == 1


@pytest.mark.parametrize(
    "docstring",
    [
        f"Say.\n\n    python -m say {LONG}\n\nMore.",
        f"Say::\n\n    {LONG}\n\nMore.",
        f"a.csv     {LONG}",
        f"Say ``{LONG} beside`` and :class:`{LONG}`.",
        f"With {LONG.replace(' ', ' + ')} = 1.",
        f"{LONG[:64]}. {LONG[:64]}; {LONG[:64]}: {LONG[:64]}!",
        "The standard of understanding.",
    ],
)
def test_code_formulas_columns_and_short_sentences_are_no_faults(docstring: str) -> None:
    assert not faults(f'def f():\n    """{docstring}"""\n')
