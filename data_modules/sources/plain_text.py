"""Running text in files without columns: a pattern such as ``books/*.txt`` names them.

A row is a paragraph: what lies between empty lines, or less if a paragraph is long. Splits that are missing are cut
by file. One or two files are cut contiguously.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from glob import has_magic
from itertools import chain, islice
from pathlib import Path

import pandas as pd

from data_modules.cache import digest, file_digest
from data_modules.config import DataConfig
from data_modules.errors import DataError
from data_modules.mapped import PIECE
from data_modules.sources.columns import HALF_CHARACTER
from data_modules.sources.mapped_tables import mapped_frame
from data_modules.sources.opened import located, plain_file, refuse_long_lines
from data_modules.sources.source import SPLITS, RawCorpus, Source

LONGEST_PARAGRAPH = 10_000
"""Characters after which a paragraph ends at the next white space."""
FEWEST_FILES = 3
"""Files of which each split can have one."""
PIECES_OF_LONG = re.compile(rf"(?s).{{{LONGEST_PARAGRAPH}}}\S*|.+")


def found_files(pattern: str, field: str) -> list[Path]:
    """Return the files that a path or a pattern names, in the order of their names.

    Raises:
        DataError: there are none.
    """
    path = Path(pattern).expanduser()
    if not has_magic(pattern):
        if not path.is_file():
            raise DataError(f"{field}: there is no file {path}; a pattern such as 'books/*.txt' names several")
        return [path]
    fixed = list(path.parts[: next(i for i, part in enumerate(path.parts) if has_magic(part))])
    root = Path(*fixed) if fixed else Path()
    rest = str(Path(*path.parts[len(fixed) :]))
    files = sorted(file for file in root.glob(rest) if file.is_file())
    if not files:
        raise DataError(f"{field}: no file matches {pattern}")
    return files


def paragraphs(path: Path, encoding: str) -> Iterator[str]:
    """Yield the paragraphs of a file, line by line; it may be compressed.

    Raises:
        DataError: the file is empty, is no text in ``encoding``, or has a line that is too long.
    """
    found = False
    with plain_file(path, encoding) as plain:
        refuse_long_lines(plain)
        try:
            with plain.open(encoding="utf-8-sig") as file:
                lines: list[str] = []
                for line in chain(file, [""]):
                    if line.strip():
                        lines.append(line)
                    if lines and (not line.strip() or sum(map(len, lines)) >= LONGEST_PARAGRAPH):
                        whole = HALF_CHARACTER.sub("", "".join(lines).strip("\n"))
                        lines, found = [], True
                        yield from PIECES_OF_LONG.findall(whole)
        except UnicodeDecodeError as error:
            raise DataError(located(path, error)) from error
    if not found:
        raise DataError(f"{path.name} is empty")


def rows_of(files: list[Path], encoding: str, *, grouped: bool) -> Iterator[pd.DataFrame]:
    """Yield ``text`` and, if asked for, ``group`` (the file) piece by piece."""
    rows = ((text, f"{number} {path.name}") for number, path in enumerate(files) for text in paragraphs(path, encoding))
    while piece := list(islice(rows, PIECE)):
        frame = pd.DataFrame(piece, columns=["text", "group"])
        yield frame if grouped else frame[["text"]]


def source(config: DataConfig) -> Source:
    """Return the files as a source, named after the first, or after the folder that a pattern looks in.

    Raises:
        DataError: there is no such file, or one is in two splits.
    """
    named = {name: getattr(config, f"{name}_file") for name in SPLITS}
    files = {name: found_files(given, f"data.{name}_file") for name, given in named.items() if given is not None}
    everywhere = [path.resolve() for paths in files.values() for path in paths]
    twice = next((path.name for path in everywhere if everywhere.count(path) > 1), None)
    if twice is not None:
        raise DataError(f"the file {twice} is in two splits (data.train_file, validation_file, test_file)")
    contiguous = len(files["train"]) < FEWEST_FILES
    content = {name: [file_digest(path) for path in paths] for name, paths in files.items()}

    def load() -> RawCorpus:
        splits = {
            name: mapped_frame(rows_of(paths, config.encoding, grouped=not contiguous)) for name, paths in files.items()
        }
        return RawCorpus(splits=splits, contiguous=contiguous)

    many = len(files["train"]) > 1
    return Source(
        slug=config.slug,
        description=f"files:{config.slug} ({len(files['train'])})" if many else f"file:{files['train'][0].name}",
        key=digest("text", config.encoding, content, contiguous),
        load=load,
    )
