"""Read the English prose out of a package's docstrings, without importing the package.

Standard library only, and runnable by its path, so that several packages can be read by processes that start in
milliseconds: ``python paragraphs.py <site-packages> <package>`` prints a JSON list of ``[file, paragraph]``.

The text does not depend on the version of Python that reads it: sources are parsed by the grammar of 3.11, and
indentation is removed by a rule of our own, as that of ``inspect.cleandoc`` changed in 3.13.
"""

from __future__ import annotations

import ast
import json
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

GRAMMAR = (3, 11)
"""Version of Python whose grammar sources are read by; a file that needs a newer one is left out everywhere."""
MINIMUM_WORDS, MAXIMUM_WORDS = 8, 150
MINIMUM_LETTER_SHARE = 0.8
MINIMUM_STOP_WORD_SHARE = 0.15
MINIMUM_ADDED_DOCUMENTATION = 60  # characters: shorter string arguments of a call are names, not documentation
COMMON_WORDS = (
    "a an and are as at be by can each for from has have if in is it its may not of on or such than that the then "
    "there these this to used was we when where which will with you"
)
STOP_WORDS = frozenset(COMMON_WORDS.split())
MARKUP_LINE_STARTS = (">>>", "...", "..", ":", "- ", "* ", "+ ", "|", "#", "```", "@", "<", ">", "$")
UNDERLINE = re.compile(r"[-=~^*`_#+]{3,}")
ROLE = re.compile(r":[\w+.-]+(?::[\w+.-]+)?:(?=`)")
TARGET = re.compile(r"\s*<[^<>`]*>(?=`)")


def docstrings(source: str) -> Iterator[str]:
    """Yield the docstrings of a module, and those that a statement such as ``add_docstr(function, "...")`` attaches."""
    nodes: list[ast.AST] = [ast.parse(source, feature_version=GRAMMAR)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node, clean=False)
            if text:
                yield without_indentation(text)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            yield from _added(node.value)
        bodies = [getattr(node, name, []) for name in ("body", "orelse", "finalbody")]
        nodes.extend(statement for body in bodies if isinstance(body, list) for statement in body)


def _added(call: ast.Call) -> Iterator[str]:
    """Yield the documentation among a call's arguments: a string, a formatted string or one within a tuple."""
    for argument in call.args:
        if isinstance(argument, ast.Call) and isinstance(argument.func, ast.Attribute):
            argument = argument.func.value  # "...".format(...)
        for part in argument.elts if isinstance(argument, ast.Tuple) else [argument]:
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                text = without_indentation(part.value)
                if len(text) >= MINIMUM_ADDED_DOCUMENTATION:
                    yield text


def without_indentation(text: str) -> str:
    """Remove the indentation that the lines after the first have in common, and empty lines at both ends (PEP 257).

    Tabs count as spaces up to the next multiple of eight. Any white space that Unicode knows counts as indentation.
    """
    first, *rest = text.expandtabs().split("\n")
    indents = [len(line) - len(line.lstrip()) for line in rest if line.strip()]
    shared = min(indents, default=0)
    lines = [first.lstrip(), *(line[shared:] for line in rest)]
    return "\n".join(lines).strip("\n")


def is_prose(paragraph: str) -> bool:
    """Say whether a paragraph is running English text: no list of parameters, no doctest, directive, table or code."""
    lines = paragraph.split("\n")
    if any(line[:1].isspace() or line.startswith(MARKUP_LINE_STARTS) or UNDERLINE.fullmatch(line) for line in lines):
        return False
    text = " ".join(paragraph.split())
    words = text.split()
    if not MINIMUM_WORDS <= len(words) <= MAXIMUM_WORDS or not text[0].isupper():
        return False
    letters = sum(character.isalpha() or character == " " for character in text)
    stop_words = sum(word.lower() in STOP_WORDS for word in words)
    return letters >= MINIMUM_LETTER_SHARE * len(text) and stop_words >= MINIMUM_STOP_WORD_SHARE * len(words)


def plain(paragraph: str) -> str:
    """Return a paragraph on one line, without reStructuredText roles, targets and back-quotes."""
    text = TARGET.sub("", ROLE.sub("", " ".join(paragraph.split())))
    return text.replace("`", "").replace("**", "")


def paragraphs(folder: Path, package: str) -> Iterator[tuple[str, str]]:
    """Yield ``(file, paragraph)`` for the prose in the docstrings of an installed package, tests excluded.

    Files are named relative to ``folder`` (site-packages) with forward slashes, and come in sorted order.
    """
    for path in sorted((folder / package).rglob("*.py"), key=lambda path: path.as_posix()):
        name = path.relative_to(folder)
        if "tests" in name.parts:
            continue
        source = path.read_text(encoding="utf-8", errors="replace")
        if '"""' not in source and "'''" not in source:
            continue
        try:
            found = sorted(set(docstrings(source)))
        except SyntaxError:  # templates for other versions of Python lie among the sources
            continue
        for text in found:
            for paragraph in re.split(r"\n\s*\n", text):
                if is_prose(paragraph):
                    yield name.as_posix(), plain(paragraph)


def main() -> None:
    """Print the paragraphs of one package as JSON."""
    warnings.simplefilter("ignore")  # invalid escape sequences in other people's sources
    folder, package = sys.argv[1:]
    json.dump(list(paragraphs(Path(folder), package)), sys.stdout)


if __name__ == "__main__":
    main()
