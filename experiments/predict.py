"""Use what was trained: classes and probabilities for new texts, or what a language model writes.

    python -m experiments.predict RUN --text "What is the boiling point of water ?"
    python -m experiments.predict RUN --file rows.csv --text_column text --output answers.csv
    python -m experiments.predict RUN --prompt "Return the" --temperature 0.8 --top_p 0.9
    python -m experiments.predict RUN --text "The <mask> of a matrix"
    python -m experiments.predict RUN --text "What is the boiling point of water ?" --explain
    python -m experiments.predict RUN --file rows.csv --robust

RUN is a run folder, such as ``results/runs/quick/docstrings/pre_ln/default/seed_0``. Texts on the command line are
answered with a table. The rows of a file come back with the columns ``predicted`` and ``probability_<class>``, other
columns as they were. They are in UTF-8 and the format that the output's ending names, or CSV on standard output. A
causal language model writes on after a prompt; a masked one proposes five words for the gap in a text. ``--explain``
shows what each word adds to the probability of the answer, ``--robust`` how many answers survive small edits of the
texts.
"""

from __future__ import annotations

if not __package__:  # started by its path, where Python finds neither our packages nor its own `statistics`
    raise SystemExit("error: start it from the repository's folder with: python -m experiments.predict")

import bz2
import csv
import gzip
import json
import lzma
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import Namespace
from jsonargparse.typing import PositiveInt
from rich.console import Console
from rich.table import Table

from data_modules.config import FILE_FORMATS, file_format_of
from data_modules.errors import nearest
from experiments.errors import ExperimentError, readable_errors
from experiments.escaping import for_terminal, visible
from experiments.planning.parser import StrictParser, add_schemes_option, take_schemes
from experiments.planning.saved_runs import load_run_config, run_folder
from experiments.runs.run_folder import write_atomically
from experiments.tasks import LANGUAGE_TASKS

if TYPE_CHECKING:  # they take seconds to import
    import pandas as pd

    from experiments.runs.inference import ClassAnswers


MOST_WORDS = 40
"""Words of a text whose contributions are shown."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Answer texts or a file; mistakes end with one line and status 2."""
    with readable_errors():
        parsed = parse(take_schemes(sys.argv[1:] if arguments is None else arguments))
        check(parsed)
        folder = run_folder(parsed.run)
        if parsed.prompt is not None:
            write_on(folder, parsed)
        elif parsed.explain:
            explain_texts(folder, parsed.text)
        elif parsed.robust:
            measure_robustness(folder, parsed.text or texts_in_file(parsed), parsed.seed)
        elif parsed.text and load_run_config(folder).task in LANGUAGE_TASKS:
            fill_gaps(folder, parsed.text)
        elif parsed.text:
            answer_texts(folder, parsed.text)
        else:
            output = None if parsed.output is None else Path(parsed.output).expanduser()
            answer_file(
                folder, Path(parsed.file).expanduser(), parsed.text_column, output, parsed.encoding, parsed.columns
            )


def parse(arguments: Sequence[str]) -> Namespace:
    """Return the options of the command line."""
    parser = StrictParser(prog="python -m experiments.predict", description=__doc__)
    parser.add_argument("run", type=str, help="run folder with a checkpoint")
    parser.add_argument(
        "--text", type=str, action="append", help="a text to classify, or one with a <mask> to fill; may be repeated"
    )
    parser.add_argument("--prompt", type=str, help="a beginning that a causal language model is to continue")
    parser.add_argument("--tokens", type=PositiveInt, default=60, help="most tokens to write after the prompt")
    parser.add_argument(
        "--temperature", type=float, default=0.0, help="logits are divided by it; 0 takes the likeliest token each time"
    )
    parser.add_argument("--top_k", type=PositiveInt | None, help="choose among this many likeliest tokens only")
    parser.add_argument(
        "--top_p", type=float | None, help="choose among the fewest tokens that have this share together"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of what is written at a temperature above 0, and of --robust"
    )
    parser.add_argument(
        "--cache", type=bool, default=True, help="keep keys and values of what was read; the text is the same without"
    )
    endings = ", ".join(FILE_FORMATS)
    parser.add_argument("--file", type=str, help=f"rows to classify ({endings}, by the ending), or a folder of texts")
    parser.add_argument("--text_column", type=str, default="text", help="column of the file that holds the text")
    parser.add_argument("--encoding", type=str, default="utf-8", help="encoding of the file's text")
    parser.add_argument(
        "--columns", type=list[str], help="names of the columns of a csv or tsv file without a header, as [label,text]"
    )
    parser.add_argument("--output", type=str, help="file to write (default: CSV on standard output)")
    parser.add_argument(
        "--explain", action="store_true", help="what each word of --text adds to the answer (requirements-export.txt)"
    )
    parser.add_argument(
        "--robust", action="store_true", help="share of answers that survive swapped letters, lost words, synonyms"
    )
    add_schemes_option(parser)
    return parser.parse_args(list(arguments))


def check(parsed: Namespace) -> None:
    """Raise :class:`ExperimentError` where the options do not fit together, before anything is loaded."""
    if sum((bool(parsed.text), bool(parsed.file), parsed.prompt is not None)) != 1:
        raise ExperimentError("give either --text (once or more), --file or --prompt")
    if parsed.explain and not parsed.text:
        raise ExperimentError("--explain belongs to --text")
    if parsed.robust and parsed.prompt is not None:
        raise ExperimentError("--robust belongs to --text or --file")
    if parsed.explain and parsed.robust:
        raise ExperimentError("give either --explain or --robust")
    if parsed.robust and parsed.output:
        raise ExperimentError("--robust prints a table and writes no rows; leave out --output")
    if parsed.robust and not 0 <= parsed.seed < 2**32:
        raise ExperimentError(f"--seed is {parsed.seed}; it must be a whole number from 0 to 2³² − 1")
    if parsed.output and not parsed.file:
        raise ExperimentError("--output belongs to --file; answers to --text go to the terminal")
    if parsed.output:
        format_of(Path(parsed.output))
    if parsed.file:
        format_of(Path(parsed.file))


def format_of(path: Path) -> str:
    """Return the format that a file's ending names; of a folder, that of what is written about its texts.

    Raises:
        ExperimentError: if it names none that is known.
    """
    ending = "csv" if path.is_dir() else file_format_of(path.name)
    if ending not in FILE_FORMATS:
        raise ExperimentError(
            f"{path.name} ends in {ending!r}, which is no known format{nearest(ending, FILE_FORMATS)}"
        )
    return ending


def write_on(folder: Path, parsed: Namespace) -> None:
    """Print a prompt and what the run's model writes after it; what a person should know goes to standard error."""
    from experiments.runs.writing import TrainedLanguageModel
    from lightning_modules.network.generation import Sampling

    names = ("temperature", "top_k", "top_p", "seed")
    sampling = Sampling(**{name: parsed[name] for name in names})
    console = Console(stderr=True)
    with console.status("loading the model"):
        written = TrainedLanguageModel.load(folder).write(
            parsed.prompt, parsed.tokens, sampling, cached=parsed["cache"]
        )
    for note in written.notes:
        console.print(f"note: {note}", highlight=False, soft_wrap=True, markup=False)
    print(visible(written.text))


def fill_gaps(folder: Path, texts: list[str]) -> None:
    """Print a table with the likeliest words for the gap of each text."""
    from experiments.runs.writing import TrainedLanguageModel

    with Console(stderr=True).status("loading the model"):
        model = TrainedLanguageModel.load(folder)
        answers = [model.fill(text) for text in texts]
    table = Table("text", "word", "probability")
    for text, answer in zip(texts, answers, strict=True):
        for place, (word, probability) in enumerate(answer):
            table.add_row("" if place else for_terminal(text), for_terminal(word), f"{probability:.3f}")
    Console().print(table)


def answer_texts(folder: Path, texts: list[str]) -> None:
    """Print a table with the classes of ``texts``, the most probable one first."""
    answers = load_and_answer(folder, texts)
    table = Table("text", "answer", "probability", "then")
    for text, probabilities in zip(texts, answers.probabilities, strict=True):
        ranked = sorted(zip(probabilities, answers.class_names, strict=True), key=lambda pair: -pair[0])
        others = ", ".join(f"{name} {probability:.3f}" for probability, name in ranked[1:3])
        table.add_row(for_terminal(text), for_terminal(ranked[0][1]), f"{ranked[0][0]:.3f}", for_terminal(others))
    Console().print(table)


def explain_texts(folder: Path, texts: list[str]) -> None:
    """Print what each word of every text adds to its answer."""
    from experiments.runs.explaining import explain
    from experiments.runs.inference import TrainedModel

    with Console(stderr=True).status("loading the model"):
        model = TrainedModel.load(folder)
        found = [explain(model, text) for text in texts]
    console = Console()
    for each in found:
        console.print(
            f"[bold]{for_terminal(each.answer)}[/bold] {each.probability:.3f}; without any word {each.baseline:.3f}",
            highlight=False,
        )
        shown = sorted(sorted(range(len(each.words)), key=lambda place: -abs(each.words[place][1]))[:MOST_WORDS])
        table = Table("word", "adds", "", box=None)
        largest = max(abs(value) for _, value in each.words) or 1.0
        for word, value in (each.words[place] for place in shown):
            bar = "█" * round(20 * abs(value) / largest)
            table.add_row(for_terminal(word), f"{value:+.3f}", f"[{'green' if value > 0 else 'red'}]{bar}[/]")
        console.print(table)
        if len(each.words) > len(shown):
            console.print(f"{len(each.words) - len(shown)} words that add less are left out", highlight=False)
        if each.cut:
            console.print(f"the last {each.cut:,} characters were not read", highlight=False)


def measure_robustness(folder: Path, texts: list[str], seed: int) -> None:
    """Print how many answers survive each kind of edit."""
    from experiments.runs.inference import TrainedModel
    from experiments.runs.robustness import survival

    with Console(stderr=True).status("loading the model"):
        found = survival(TrainedModel.load(folder), texts, seed)
    table = Table("edit", "texts", "answers that survive", "95 % interval", box=None)
    for each in found:
        low, high = each.interval or (0.0, 0.0)
        share = "–" if each.share is None else f"{each.share:.3f}"
        table.add_row(each.edit, f"{each.texts:,}", share, "–" if each.share is None else f"{low:.3f} to {high:.3f}")
    console = Console()
    console.print(table)
    console.print("Each edit changes a tenth of the words of a text, at least one.", highlight=False)


def texts_in_file(parsed: Namespace) -> list[str]:
    """Read the texts of the file that the command line names.

    Raises:
        ExperimentError, DataError: it cannot be read, or lacks the column.
    """
    path = Path(parsed.file).expanduser()
    _, texts = read_rows(path, parsed.text_column, parsed.encoding, parsed.columns)
    return texts


def read_rows(
    path: Path, text_column: str, encoding: str, columns: Sequence[str] | None
) -> tuple[pd.DataFrame, list[str]]:
    """Read a file of rows, or a folder of texts: what names each of them, and their texts.

    Raises:
        ExperimentError, DataError: it cannot be read, or lacks the column.
    """
    from data_modules.sources.columns import require_columns
    from data_modules.sources.files import read_table
    from data_modules.sources.folder import texts_in

    file_format = format_of(path)
    if columns is not None and (path.is_dir() or file_format not in ("csv", "tsv")):
        raise ExperimentError(f"--columns names the columns of csv and tsv files, and {path.name} is neither")
    if path.is_dir():
        found = texts_in(path, encoding)
        return found[["file"]], found["text"].tolist()
    table = read_table(path, file_format, encoding, columns, halves=file_format == "jsonl")
    require_columns(path.name, [str(column) for column in table.columns], {"--text_column": text_column})
    return table, texts_of(table[text_column])


def answer_file(
    folder: Path,
    path: Path,
    text_column: str,
    output: Path | None,
    encoding: str = "utf-8",
    columns: Sequence[str] | None = None,
) -> None:
    """Write the rows of a file, or the names of a folder's texts, with their classes and probabilities.

    Raises:
        ExperimentError, DataError: if the file cannot be read or written, or lacks the column.
    """
    file_format = format_of(path)
    table, texts = read_rows(path, text_column, encoding, columns)
    answers = load_and_answer(folder, texts)
    added = added_columns(answers, list(table.columns), path.name)
    if output is not None and file_format == format_of(output) == "parquet":
        written = parquet_with(path, added)
    else:
        written = table_bytes(with_columns(table, added), "csv" if output is None else format_of(output))
    if output is None:
        sys.stdout.write(written.decode())
        return
    write_atomically(output.resolve(), compressed(written, output.name))
    print(f"wrote {len(table)} rows to {output}")


def load_and_answer(folder: Path, texts: Sequence[str]) -> ClassAnswers:
    """Load the run's model, which takes seconds, and answer."""
    from experiments.runs.inference import TrainedModel

    with Console(stderr=True).status("loading the model"):
        return TrainedModel.load(folder).answer(texts)


def texts_of(column: pd.Series) -> list[str]:
    """The cells of a column as text; a missing one is empty."""
    from pandas import isna
    from pandas.api.types import is_scalar

    from data_modules.sources.columns import HALF_CHARACTER

    cells = ["" if is_scalar(cell) and isna(cell) else str(cell) for cell in column]
    return [HALF_CHARACTER.sub("", cell) for cell in cells]


def added_columns(answers: ClassAnswers, present: Sequence[Any], name: str) -> dict[str, Any]:
    """Return the columns ``predicted`` and ``probability_<class>`` by name.

    Args:
        answers: of every row.
        present: the columns that the rows have already.
        name: what the rows are called in a message.

    Raises:
        ExperimentError: where there is such a column already.
    """
    added: dict[str, Any] = {"predicted": answers.predicted}
    for index, class_name in enumerate(answers.class_names):
        added[f"probability_{class_name}"] = answers.probabilities[:, index]
    taken = [column for column in added if column in present]
    if taken:
        raise ExperimentError(f"{name} has a column {taken[0]!r} already, which the answers would replace; rename it")
    return added


def with_columns(table: pd.DataFrame, added: dict[str, Any]) -> pd.DataFrame:
    """Return a table with further columns."""
    import pandas as pd

    return pd.concat([table, pd.DataFrame(added, index=table.index)], axis=1)


def parquet_with(path: Path, added: dict[str, Any]) -> bytes:
    """Return a Parquet file with further columns, the others with their own types, index columns of pandas included."""
    import pyarrow as pa
    from pyarrow import parquet

    from data_modules.sources.opened import plain_file

    with plain_file(path, None) as plain:
        table = parquet.read_table(plain)
    for name, values in added.items():
        table = table.append_column(name, pa.array(values))
    buffer = pa.BufferOutputStream()
    parquet.write_table(table, buffer)
    return buffer.getvalue().to_pybytes()


def table_bytes(table: pd.DataFrame, file_format: str) -> bytes:
    """Return a table as CSV, TSV, JSONL or Parquet.

    Quotation marks of a TSV file are text, unless a cell needs them to hold together.

    Raises:
        ExperimentError: Parquet has no place for columns of several types.
    """
    match file_format:
        case "parquet":
            try:
                return table.to_parquet(index=False)
            except (ValueError, TypeError) as error:  # pyarrow's errors are among them
                reason = str(error).splitlines()[0]
                raise ExperimentError(f"these rows cannot be written as parquet ({reason}); write jsonl") from None
        case "jsonl":
            rows = zip(*(table[name] for name in table.columns), strict=True)
            return "".join(f"{json_row(list(table.columns), row)}\n" for row in rows).encode()
        case "tsv":
            held = any(needs_marks(cell) for cell in cells_of(table))
            quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if held else csv.QUOTE_NONE
            written = table.to_csv(index=False, sep="\t", lineterminator="\n", quoting=quoting)
            return written.encode(errors="backslashreplace")
        case _:
            return table.to_csv(index=False, lineterminator="\n").encode(errors="backslashreplace")


def cells_of(table: pd.DataFrame) -> Iterator[str]:
    """Yield the texts of a table, column names among them."""
    yield from map(str, table.columns)
    for name in table.columns:
        yield from (cell for cell in table[name] if isinstance(cell, str))


def needs_marks(cell: str) -> bool:
    """Tell whether a cell of a TSV file holds what separates cells."""
    return any(separator in cell for separator in "\t\r\n")


def json_row(names: Sequence[Any], values: Sequence[Any]) -> str:
    """Return a row as JSON without the fields that it lacks; numbers keep every digit."""
    row = {str(name): plain_value(value) for name, value in zip(names, values, strict=True) if not is_gap(value)}
    text = json.dumps(row, ensure_ascii=False)
    return text if text.isascii() or encodable(text) else json.dumps(row)  # half a character can be spelled out


def is_gap(value: Any) -> bool:
    """Tell whether a cell is what pandas puts where a row lacks a field."""
    return isinstance(value, float) and value != value


def encodable(text: str) -> bool:
    """Tell whether a text is free of half characters, which UTF-8 cannot hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def plain_value(value: Any) -> Any:
    """Return a cell as JSON can hold it: numbers and arrays of numpy as Python's own, dates as text."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value]
    if isinstance(value, dict):
        return {str(name): plain_value(item) for name, item in value.items()}
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def compressed(content: bytes, name: str) -> bytes:
    """Return what a file of this name holds: compressed where its ending says so.

    Raises:
        ExperimentError: for an ending that is not written.
    """
    ending = PurePath(name).suffix.lower()
    if ending == ".zip":
        raise ExperimentError(f"{name}: zip files are read and not written; write .gz, .bz2 or .xz")
    known: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
    compress = known.get(ending)
    return content if compress is None else compress(content)


if __name__ == "__main__":
    main()
